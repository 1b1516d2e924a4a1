"""A tab of a headless Chromium that tells what its page did."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

from omnisearch.data.workspace import Workspace

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


class Tab:
    """One page in a browser context of its own.

    Attributes:
        page: Playwright's.
        requests: addresses of all requests.
    """

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.url = url
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self._faults: list[str] = []
        self._expected: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self._faults.append(f"script: {error}"))
        self.page.on("console", self._console)
        self.context.on("request", lambda request: self.requests.append(request.url))

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self._faults.append(f"console: {message.text}")

    def open(self, path: str, wait_for: str | None = None) -> Any:
        """Load a path of the service, and wait for a selector."""
        self.page.goto(self.url + path)
        if wait_for:
            self.page.wait_for_selector(wait_for)
        return self.page

    def foreign(self) -> list[str]:
        """Requests to any other origin."""
        return [
            url for url in self.requests if not url.startswith((f"{self.url}/", "data:", "blob:"))
        ]

    def forget(self, words: str) -> None:
        """Pass over faults that are expected: Chromium itself reports answers that are errors.

        Those that are still to come too: a picture may be asked for late.
        """
        self._expected.append(words)

    @property
    def faults(self) -> list[str]:
        """Errors of scripts and of the console, and what the page's policy blocked."""
        return [
            fault for fault in self._faults if not any(words in fault for words in self._expected)
        ]

    def close(self) -> None:
        self.context.close()


def shown(page: Any) -> list[str]:
    """The titles in the feed."""
    page.wait_for_selector("#results:not([aria-busy])")
    return page.locator("#feed .card:not(.blank) .name").all_inner_texts()


def focused(page: Any) -> str:
    """The text of what has the focus."""
    return page.evaluate("document.activeElement.innerText || document.activeElement.id")


def until(page: Any, condition: str, given: Any = None) -> None:
    """Wait for a condition; Playwright's own way needs an eval, which the page's policy forbids."""
    end = time.monotonic() + 10
    while not page.evaluate(condition, given):
        assert time.monotonic() < end, condition
        time.sleep(0.02)


def judged(world: Workspace) -> list[dict[str, Any]]:
    """What the service has on the disk, oldest first."""
    db = sqlite3.connect(world.feedback)
    rows = [json.loads(row) for (row,) in db.execute("SELECT row FROM judgments ORDER BY seq")]
    db.close()
    return rows
