"""The process that publishes what changed in the catalogue:
`python -m omnisearch.service.runtime.updater SETTINGS`.

It keeps nothing: whenever it ends, the next one goes on from what the catalogue holds.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import orjson
from threadpoolctl import threadpool_limits

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import NotReady, OmniError
from omnisearch.data.workspace.parent import follow
from omnisearch.service.config import ServiceConfig
from omnisearch.service.runtime.priority import give_way
from omnisearch.service.serving.counters import Counters
from omnisearch.service.serving.log import JsonLog, take_over

T = TypeVar("T")
_POLL_SECONDS = 0.02
# From the beginning of a publication to that of the next: what comes meanwhile goes together, so
# that searches have the processor too, and each is found within a second.
_EVERY_SECONDS = 0.6
_NICE = 10  # where there are too few cores, searches come first
_BUSY_SECONDS = 0.5  # between two tries while another process builds
_LONGEST_PAUSE = 30.0  # after failures one after another


def main(settings: dict[str, Any]) -> int:
    """Publish until SIGTERM; returns the exit status."""
    log = JsonLog(settings["log"])
    take_over(log)
    config = ServiceConfig(**settings["config"])
    counters = Counters(settings["counters"], config.workers)
    threading.Thread(target=follow, args=(settings["parent"],), daemon=True).start()
    counters.put("updater_pid", os.getpid())
    give_way(_NICE, "SCHED_BATCH")
    try:
        from omnisearch.data.catalogue.vectors import keep_vectors
        from omnisearch.pipeline.live import LiveIndex

        keep_vectors()
        # A few items at a time: more threads would take cores from searches.
        threadpool_limits(1, user_api="blas")
        Publishing(LiveIndex(Workspace(Path(settings["workspace"]))), counters, log).run()
    except OmniError as error:
        log.line("updater_failed", what=error.what, where=error.where, how=error.how)
    except Exception as error:
        log.line("updater_failed", error=repr(error), traceback=traceback.format_exc())
    log.drain()
    return 1


class Publishing:
    """The loop that publishes, and its counters."""

    def __init__(self, index: Any, counters: Counters, log: JsonLog) -> None:
        self._index, self._counters, self._log = index, counters, log
        self._pause, self._said = 0.0, ""

    def run(self) -> None:
        """Publish each change. Returns never; raises what is no OmniError."""
        while True:
            begun = _milliseconds()
            if self._try(self._index.behind):
                if not self._counters.fact("pending_since"):
                    self._counters.put("pending_since", begun)
                number = self._try(self._index.publish)
                if number is not None:
                    self._note(number, begun)
                    self._try(self._index.write_anew_if_due)
                    time.sleep(max(0.0, _EVERY_SECONDS - (_milliseconds() - begun) / 1000))
            time.sleep(self._pause or _POLL_SECONDS)

    def _note(self, number: int, begun: int) -> None:
        """Count a publication, of what was committed when it began."""
        since = self._counters.fact("pending_since")
        self._counters.add("publications")
        self._counters.put("published_generation", number)
        self._counters.put("publish_ms", _milliseconds() - since)
        self._counters.put("pending_since", begun if self._try(self._index.behind) else 0)

    def _try(self, call: Callable[[], T]) -> T | None:
        """What the call returns; None if it fails, after which the loop pauses."""
        try:
            found = call()
        except OmniError as error:
            waits = isinstance(error, NotReady)  # another process builds
            self._pause = _BUSY_SECONDS if waits else min(2 * self._pause + 1, _LONGEST_PAUSE)
            if str(error) != self._said:
                self._said = str(error)
                self._log.line("not_published", what=error.what, where=error.where, how=error.how)
            self._counters.add("publish_failures", int(not waits))
            return None
        self._pause, self._said = 0.0, ""
        return found


def _milliseconds() -> int:
    return int(time.monotonic() * 1000)


if __name__ == "__main__":
    sys.exit(main(orjson.loads(sys.argv[1])))
