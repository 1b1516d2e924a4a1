"""A process that the supervisor starts, and starts again when it has ended."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

_YOUNG_SECONDS = 10.0  # one that ends younger than this is restarted after ever longer pauses
_LONGEST_PAUSE = 30.0


@dataclass
class Child:
    """A worker, the updater or the embedder.

    Attributes:
        kind: 'worker', 'updater' or 'embedder': its module in `service.runtime`, and what the log
            calls it.
        named: what tells it from others of its kind in the log, such as {'worker': 0}.
        avoid: generations that ended it when it opened them.
    """

    kind: str
    say: Callable[..., None]
    named: dict[str, int] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    begin_at: float = 0.0
    pause: float = 0.5
    avoid: set[int] = field(default_factory=set)
    said: int = -1  # of a pipe, what the process writes outside its log

    def begin(self, now: float, settings: dict[str, Any], passed: tuple[int, ...]) -> None:
        """Start the process, if it is time to.

        Args:
            settings: its argument, as JSON. passed: file descriptors.
        """
        if now < self.begin_at:
            return
        try:
            self._start(settings, passed)
        except OSError as error:  # no memory, no processes, no file descriptors
            self.log("not_started", error=str(error))
            self.wait(now, young=True)

    def ended(self) -> int | None:
        """The exit status of the process, once it has ended; it is None while it runs."""
        assert self.process is not None
        self.pass_on()
        status = self.process.poll()
        if status is not None:
            self.pass_on()
            os.close(self.said)
            self.log("ended", pid=self.process.pid, status=status)
            self.process = None
        return status

    def wait(self, now: float, young: bool) -> None:
        """Say when to start again: one that ended young, after an ever longer pause."""
        young = young or now - self.started < _YOUNG_SECONDS
        self.pause = min(2 * self.pause, _LONGEST_PAUSE) if young else 0.5
        self.begin_at = now + (self.pause if young else 0.0)

    def pass_on(self) -> None:
        """Log what the process wrote to stdout and stderr outside its log, as libraries do."""
        if self.process is not None:
            with contextlib.suppress(BlockingIOError):
                text = os.read(self.said, 64 * 1024).decode("utf-8", "replace").strip()
                if text:
                    self.log("said", text=text)

    def log(self, event: str, **fields: Any) -> None:
        """A line about it in the log."""
        self.say(f"{self.kind}_{event}", **self.named, **fields)

    def _start(self, settings: dict[str, Any], passed: tuple[int, ...]) -> None:
        module = f"omnisearch.service.runtime.{self.kind}"
        said, written = os.pipe()
        for end in (said, written):  # what does not fit is lost, and the process goes on
            os.set_blocking(end, False)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, orjson.dumps(settings).decode()],
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
            )
        except OSError:
            os.close(said)
            raise
        finally:
            os.close(written)
        self.said, self.started = said, time.monotonic()
