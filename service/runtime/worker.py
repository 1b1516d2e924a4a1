"""One worker process: `python -m omnisearch.service.runtime.worker SETTINGS`."""

from __future__ import annotations

import gc
import resource
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import orjson
from threadpoolctl import threadpool_limits

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import OmniError
from omnisearch.data.workspace.parent import follow
from omnisearch.service.config import ServiceConfig
from omnisearch.service.runtime.server import serve
from omnisearch.service.serving.counters import Counters
from omnisearch.service.serving.log import JsonLog, take_over

_SWITCH_SECONDS = 0.001  # so that a search does not block the event loop for long


def main(settings: dict[str, Any]) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status."""
    log = JsonLog(settings["log"])
    take_over(log)
    sys.setswitchinterval(_SWITCH_SECONDS)
    # The matrices are small: a second BLAS thread only spins and takes a core from other searches.
    threadpool_limits(1, user_api="blas")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    config = ServiceConfig(**settings["config"])
    counters = Counters(settings["counters"], config.workers, settings["slot"])
    threading.Thread(target=follow, args=(settings["parent"],), daemon=True).start()
    listening = socket.socket(fileno=settings["listening"])
    try:
        # Here, because it loads plug-ins, one of which may be broken.
        from omnisearch.service.app import create_app

        workspace, avoid = Workspace(Path(settings["workspace"])), frozenset(settings["avoid"])
        app = create_app(workspace, config, counters, log, avoid)
        app.serving.open()
        # What is there by now stays. A full collection that looks through all of it would stop
        # every request for some 100 ms; what a generation adds are few objects, which nothing
        # needs a collector for (`data.workspace.memory`).
        gc.collect()
        gc.freeze()
    except OmniError as error:
        log.line("cannot_start", what=error.what, where=error.where, how=error.how)
        log.drain()
        return error.exit_code
    serve(app, config, listening, counters)
    log.drain()
    return 0


if __name__ == "__main__":
    sys.exit(main(orjson.loads(sys.argv[1])))
