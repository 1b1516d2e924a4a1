"""The process that embeds the texts of new items:
`python -m omnisearch.service.runtime.embedder SETTINGS`.

Apart from the one that publishes, which would wait for seconds while PyTorch is imported. What it
embeds is a change of the catalogue, which that one publishes. It keeps nothing.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import orjson

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import OmniError
from omnisearch.data.workspace.parent import follow
from omnisearch.service.runtime.priority import give_way
from omnisearch.service.serving.log import JsonLog, take_over

_EVERY_SECONDS = 30.0  # all vectors are written anew each time


def main(settings: dict[str, Any]) -> int:
    """Embed until SIGTERM; returns the exit status."""
    log = JsonLog(settings["log"])
    take_over(log)
    threading.Thread(target=follow, args=(settings["parent"],), daemon=True).start()
    give_way(19, "SCHED_IDLE")  # an item is found by its words meanwhile
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the other cores are for searches
    try:
        from omnisearch.pipeline.live_texts import LiveTexts

        run(LiveTexts(Workspace(Path(settings["workspace"]))), log)
    except Exception as error:
        log.line("embedder_failed", error=repr(error), traceback=traceback.format_exc())
    log.drain()
    return 1


def run(texts: Any, log: JsonLog) -> None:
    """Embed again and again; what fails is logged once, and tried again. Returns never."""
    last = ""
    while True:
        said: dict[str, str] = {}
        try:
            texts.embed()
        except OmniError as error:
            said = {"what": error.what, "where": error.where, "how": error.how}
        except Exception as error:
            said = {"error": repr(error), "traceback": traceback.format_exc()}
        if said and str(said) != last:
            log.line("not_embedded", **said)
        last = str(said)
        time.sleep(_EVERY_SECONDS)


if __name__ == "__main__":
    sys.exit(main(orjson.loads(sys.argv[1])))
