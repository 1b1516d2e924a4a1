"""The open engine, embedder and counters of a worker, and the switch to new generations."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import traceback
from typing import Any

import numpy as np
import orjson

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import OmniError
from omnisearch.data.workspace.memory import trim_memory
from omnisearch.encoders.onnx.query_tower import MANIFEST
from omnisearch.engine.query_embeddings.embedder import QueryEmbedder
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.snapshot import Snapshot
from omnisearch.service.config import ServiceConfig
from omnisearch.service.serving.counters import Counters
from omnisearch.service.serving.feedback import FeedbackLog
from omnisearch.service.serving.log import JsonLog
from omnisearch.service.serving.pictures import Pictures
from omnisearch.service.serving.pool import Pool

_BEAT_SECONDS = 1.0
_TRIM_SECONDS = 2.0  # after a switch: running searches still hold the old generation
_AGAIN_SECONDS = 30.0  # before a generation that could not be opened is tried again


class Serving:
    """Everything that requests share. Opened and closed on the event loop.

    Attributes:
        engine, embedder, pool, feedback: set from `open` to `close`.
        snapshot: the one that new requests are answered from.
    """

    engine: SearchEngine
    embedder: QueryEmbedder
    pool: Pool
    feedback: FeedbackLog

    def __init__(
        self, workspace: Workspace, config: ServiceConfig, counters: Counters, log: JsonLog
    ) -> None:
        self.workspace, self.config, self.counters, self.log = workspace, config, counters, log
        self.ready = self.opened = False
        self.pictures = Pictures(config.image_origins, workspace)
        self._tasks: list[asyncio.Task[None]] = []
        self._seen: tuple[Any, ...] = ()
        self._base: dict[str, int] = {}

    @property
    def snapshot(self) -> Snapshot:
        return self.engine.snapshot

    def open(self) -> None:
        """Open the workspace; raises NotReady or Corrupt as `SearchEngine.open` does."""
        self._seen = pointers(self.workspace)
        self.engine = SearchEngine.open(self.workspace)
        warm(self.engine, self.snapshot)
        self.pictures.refresh()
        self.embedder = QueryEmbedder(self.engine.cache, self.snapshot.encoder)
        self.pool = Pool(self.config.threads, self.config.waiting)
        self.feedback = FeedbackLog(self.workspace.feedback, self.log)
        self.opened = True

    async def start(self) -> None:
        """Start to watch for new generations and to update this worker's counters."""
        self.counters.put("pid", os.getpid())
        self.counters.put("started", int(time.time()))
        self._base = {name: self.counters.fact(name) for name in self._embedder_counts()}
        self._beat()
        self.ready = True
        self.counters.put("ready", 1)
        self._tasks = [asyncio.create_task(self._beats()), asyncio.create_task(self._watch())]

    async def close(self) -> None:
        """Stop, and write pending feedback."""
        self.ready = False
        self.counters.put("ready", 0)
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.to_thread(self.feedback.close)
        self.pool.close()
        self.embedder.close()
        self.engine.close()
        self._beat()
        self.log.flush()

    def cached_embedding(self, text: str) -> bytes | None:
        """The answer to GET /v1/embed if the embedding is in memory, else None."""
        tower = self.snapshot.encoder
        vector = self.embedder.cached(text, tower)
        return None if vector is None else embedding_body(text, tower.checkpoint, vector, True)

    def say_fault(self, request_id: str, error: Exception) -> None:
        """Log an unexpected error with its traceback."""
        trace = "".join(traceback.format_exception(error))
        self.log.line("fault", request_id=request_id, error=repr(error), traceback=trace)

    def _open_next(self) -> Snapshot:
        snapshot = self.engine.open_next()
        warm(self.engine, snapshot)
        self.pictures.refresh()
        return snapshot

    def _embedder_counts(self) -> dict[str, int]:
        stats = self.embedder.stats()
        names = ("memory_hits", "store_hits", "encoded", "joined", "refused", "failed", "batches")
        return {name: int(stats[name]) for name in names} | {
            "model_us": int(stats["model_seconds"] * 1e6)
        }

    def _beat(self) -> None:
        for name, value in self._embedder_counts().items():
            self.counters.put(name, self._base.get(name, 0) + value)
        for name, value in (
            ("beat", int(time.time())),
            ("generation", self.engine.generation),
            ("resident_kib", resident_kib()),
            ("searches_waiting", self.pool.under_way),
            ("queries_waiting", int(self.embedder.stats()["waiting"])),
        ):
            self.counters.put(name, value)

    async def _beats(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            self._beat()
            self.log.flush()

    async def _watch(self) -> None:
        """Switch to new generations and rankers as soon as they are published."""
        refused, again = None, 0.0
        while True:
            await asyncio.sleep(self.config.poll_seconds)
            now = pointers(self.workspace)
            if now == self._seen or (now == refused and time.monotonic() < again):
                continue
            try:
                snapshot = await asyncio.to_thread(self._open_next)
            except (OmniError, OSError) as error:
                self.counters.add("swap_failures")
                self.log.line("generation_refused", error=str(error))
                refused, again = now, time.monotonic() + _AGAIN_SECONDS
                continue
            # Without an await in between: a request sees either the old snapshot or the new one.
            self.engine.swap(snapshot)
            self.embedder.swap(snapshot.encoder)
            self._seen = now
            self.counters.add("swaps")
            self.counters.put("generation", snapshot.generation.number)
            self.log.line("generation", number=snapshot.generation.number)
            loop = asyncio.get_running_loop()
            loop.call_later(_TRIM_SECONDS, loop.run_in_executor, None, trim_memory)
            del snapshot


def warm(engine: SearchEngine, snapshot: Snapshot) -> None:
    """Search once, so that the first request does not pay for what is computed on first use."""
    query = snapshot.query("warm up")
    query = query.with_vector(snapshot.encoder.queries([query.text])[0])
    engine.at(snapshot).search(query)
    for table in snapshot.generation.tables.values():
        len(table.row_of)


def embedding_body(text: str, checkpoint: str, vector: np.ndarray, cached: bool) -> bytes:
    """The answer to GET /v1/embed."""
    return orjson.dumps(
        {
            "query": text,
            "checkpoint": checkpoint,
            "dim": len(vector),
            "embedding": vector,
            "cached": cached,
        },
        option=orjson.OPT_SERIALIZE_NUMPY,
    )


def pointers(workspace: Workspace) -> tuple[Any, ...]:
    """Stamps of the files that change when a generation, rankers or an export are published."""
    paths = (
        workspace.current,
        workspace.current_rankers,
        *sorted(workspace.exports.glob(f"*/{MANIFEST}")),
    )
    return tuple((str(path), _stamp(path)) for path in paths)


def _stamp(path: Any) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def resident_kib() -> int:
    """Resident memory of this process in KiB; 0 where it is not known."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - read every second
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    except (OSError, ValueError, IndexError):
        return 0
