"""Reports of experiments for the pages, each made in a process of its own.

A report reads logs of any size. In this process it would take the interpreter from searches, so
`python -m omnisearch.service.serving.reports WORKSPACE NAME` makes it, and prints it as JSON. What
was made is kept for a minute; afterwards it is shown until a newer one has come.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.causes import explained
from omnisearch.evaluation.experiments import store
from omnisearch.evaluation.experiments.report import report

_FRESH = 60.0  # seconds
_LONGEST = 600.0  # seconds that one may take
_MOST = 20  # that are kept
_KINDNESS = 15  # of the process, so that searches come first


@dataclass
class Made:
    """A report, or in `why_not` why there is none; `at`: when, by `time.monotonic()`."""

    report: dict[str, Any] | None = None
    why_not: str = ""
    at: float = -_FRESH


class Reports:
    """The reports of a workspace, for one worker: made one after another."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._made: dict[str, Made] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()

    def of(self, name: str) -> tuple[Made, bool]:
        """The last report of an experiment, and whether a newer one is being made."""
        made = self._made.get(name, Made())
        if name not in self._tasks and time.monotonic() - made.at >= _FRESH:
            self._tasks[name] = asyncio.create_task(self._make(name))
        return made, name in self._tasks

    async def close(self) -> None:
        """End what is being made."""
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _make(self, name: str) -> None:
        try:
            async with self._turn:
                made = Made(**await _in_a_process(self._root, name))
        except (OSError, TimeoutError, ValueError, TypeError):
            made = Made(why_not="The report could not be made: see `omnisearch experiment report`.")
        finally:
            del self._tasks[name]
        made.at = time.monotonic()
        self._made.pop(name, None)
        self._made[name] = made
        while len(self._made) > _MOST:
            del self._made[next(iter(self._made))]


async def _in_a_process(root: Path, name: str) -> dict[str, Any]:
    """What `main` prints. Raises OSError, TimeoutError, or ValueError where it is no JSON."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "omnisearch.service.serving.reports", str(root), name),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), _LONGEST)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    found: dict[str, Any] = orjson.loads(said)
    return found


def main(root: str, name: str) -> None:
    """Print {"report": ...} of an experiment, or {"why_not": sentences}."""
    os.nice(_KINDNESS)
    told: dict[str, Any]
    try:
        workspace = Workspace.open(root)
        told = {"report": report(workspace, store.load(workspace, name)).to_json()}
    except Exception as error:  # the page says what it is
        known = explained(error, "experiment report")
        told = {"why_not": f"{known.what} {known.how}".strip()}
    sys.stdout.buffer.write(orjson.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
