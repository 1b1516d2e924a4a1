"""The open engine, embedder and counters of a worker, and the switch to new generations."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import orjson

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt
from omnisearch.data.workspace.files import stamp
from omnisearch.data.workspace.memory import trim_memory
from omnisearch.encoders.onnx.query_tower import MANIFEST
from omnisearch.engine.query_embeddings.embedder import QueryEmbedder
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.snapshot import Snapshot
from omnisearch.evaluation.experiments.running import Running, open_running
from omnisearch.indexer.generation import live_number
from omnisearch.service.config import ServiceConfig
from omnisearch.service.serving.aside import stepping_aside
from omnisearch.service.serving.counters import Counters
from omnisearch.service.serving.feedback import FeedbackLog
from omnisearch.service.serving.items import ItemLog
from omnisearch.service.serving.log import JsonLog
from omnisearch.service.serving.opening import open_engine, stands_on, warm
from omnisearch.service.serving.pictures import Pictures
from omnisearch.service.serving.pool import Pool
from omnisearch.service.serving.searches import SearchLog

_BEAT_SECONDS = 1.0
_KEYS_SECONDS = 0.5  # between two looks at the files of API keys
_TRIM_SECONDS = 2.0  # after a switch: running searches still hold the old generation
_TRIM_EVERY = 30.0  # seconds at least between two: it holds up searches
_AGAIN_SECONDS = 30.0  # before a generation that could not be opened is tried again


class Serving:
    """Everything that requests share. Opened and closed on the event loop.

    Attributes:
        engine, embedder, pool, suggesting, feedback, items, searches: set from `open` to `close`.
        snapshot: the one that new requests are answered from.
        running: what experiments ask of users' searches; None without any.
        behind: a sentence where what was published last cannot be opened, else empty.
    """

    engine: SearchEngine
    embedder: QueryEmbedder
    pool: Pool
    suggesting: Pool
    feedback: FeedbackLog
    items: ItemLog
    searches: SearchLog

    def __init__(
        self,
        workspace: Workspace,
        config: ServiceConfig,
        counters: Counters,
        log: JsonLog,
        avoid: frozenset[int] = frozenset(),
    ) -> None:
        """`avoid`: generations that ended a worker when it opened them."""
        self.workspace, self.config, self.counters, self.log = workspace, config, counters, log
        self.ready = self.opened = False
        self.behind, self._avoid = "", avoid
        self.pictures = Pictures(config.image_origins, workspace)
        self._tasks: list[asyncio.Task[None]] = []
        self.running: Running | None = None
        self._seen: tuple[Any, ...] = ()  # the pointers to what is served
        self._running_seen: tuple[Any, ...] = ()  # the files of experiments that `running` is of
        self._refused: tuple[Any, ...] = ()  # those to what could not be opened
        self._again = 0.0  # when to try that again
        self._base: dict[str, int] = {}
        # The one before, to be freed by the thread that opens the next, and not by the event loop.
        self._last: Snapshot | None = None
        self._trimming = False
        self._trimmed = 0.0

    @property
    def snapshot(self) -> Snapshot:
        return self.engine.snapshot

    def open(self) -> None:
        """Open the workspace: what is live, else what can be opened (see `open_engine`).

        Raises:
            NotReady, Corrupt: as `SearchEngine.open`, if nothing can be opened.
        """
        now = pointers(self.workspace)
        self.engine, whole = open_engine(self.workspace, self.log, self.counters, self._avoid)
        if whole:
            self._seen = now
        else:
            self._refuse(now)
        self.running, self._running_seen = self._open_running(self.snapshot)
        self.pictures.refresh()
        self.embedder = QueryEmbedder(self.engine.cache, self.snapshot.encoder)
        self.pool = Pool(self.config.threads, self.config.waiting)
        self.suggesting = Pool(1, self.config.waiting)
        self.feedback = FeedbackLog(self.workspace.feedback, self.log)
        self.items = ItemLog(self.workspace.catalogue, self.log)
        self.searches = SearchLog(self.workspace.searches, self.log)
        self.opened = True

    async def start(self, look_at_keys: Callable[[], None]) -> None:
        """Start to watch for new generations and keys, and to update this worker's counters."""
        self.counters.put("pid", os.getpid())
        self.counters.put("started", int(time.monotonic()))
        self._base = {name: self.counters.fact(name) for name in self._counts()}
        self._beat()
        self.ready = True
        self.counters.put("ready", 1)

        async def keys() -> None:
            await asyncio.to_thread(look_at_keys)

        self._tasks = [
            asyncio.create_task(self._repeat(self._beats, _BEAT_SECONDS)),
            asyncio.create_task(self._repeat(self._watch, self.config.poll_seconds)),
            asyncio.create_task(self._repeat(self._watch_experiments, self.config.poll_seconds)),
            asyncio.create_task(self._repeat(keys, _KEYS_SECONDS)),
        ]

    async def close(self) -> None:
        """Stop, and write pending feedback."""
        self.ready = False
        self.counters.put("ready", 0)
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.to_thread(self.feedback.close)
        await asyncio.to_thread(self.items.close)
        await asyncio.to_thread(self.searches.close)
        self.pool.close()
        self.suggesting.close()
        self.embedder.close()
        self.engine.close()
        self._beat()
        # uvicorn ends the process by the signal that it has caught: nothing runs after this.
        await asyncio.to_thread(self.log.drain)

    def cached_embedding(self, text: str) -> bytes | None:
        """The answer to GET /v1/embed if the embedding is in memory, else None."""
        tower = self.snapshot.encoder
        vector = self.embedder.cached(text, tower)
        return None if vector is None else embedding_body(text, tower.checkpoint, vector, True)

    def say_fault(self, request_id: str, error: Exception) -> None:
        """Log an unexpected error with its traceback."""
        trace = "".join(traceback.format_exception(error))
        self.log.line("fault", request_id=request_id, error=repr(error), traceback=trace)

    def _open_next(self) -> tuple[Snapshot, Running | None, tuple[Any, ...]]:
        number = live_number(self.workspace)
        if number in self._avoid:
            raise Corrupt(f"Generation {number} ended the worker that opened it.")
        self.counters.put("opening", number)
        self._last = None
        try:
            with stepping_aside(self.pool):
                snapshot = self.engine.open_next()
                if not stands_on(snapshot, self.snapshot):
                    warm(self.engine, snapshot)
        finally:
            self.counters.put("opening", 0)
        self.pictures.refresh()
        return snapshot, *self._open_running(snapshot)

    def _open_running(self, snapshot: Snapshot) -> tuple[Running | None, tuple[Any, ...]]:
        """What experiments ask, on top of a snapshot, and the stamps of the files that say so.

        An experiment that cannot be opened does not run: everybody gets what is live.
        """
        seen = experiment_files(self.workspace)
        try:
            return open_running(self.workspace, snapshot, self.engine.config), seen
        except BaseException as error:  # whatever a library makes of a file
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            self.counters.add("swap_failures")
            self.log.line("experiment_refused", error=str(error) or repr(error))
            return None, seen

    def _counts(self) -> dict[str, int]:
        """What was counted elsewhere since this worker began."""
        stats = self.embedder.stats()
        names = ("memory_hits", "store_hits", "encoded", "joined", "refused", "failed", "batches")
        counts = {name: int(stats[name]) for name in names}
        counts |= {"model_us": int(stats["model_seconds"] * 1e6), "log_dropped": self.log.dropped}
        there = self.snapshot.generation.segments[0].collections
        if there is not None:
            nodes = there.nodes
            counts |= {"node_failures": nodes.failures, "node_repeats": nodes.repeated}
        return counts

    def _beat(self) -> None:
        for name, value in self._counts().items():
            self.counters.put(name, self._base.get(name, 0) + value)
        for name, value in (
            ("beat", int(time.monotonic())),
            ("behind", int(bool(self.behind))),
            ("generation", self.engine.generation),
            ("resident_kib", resident_kib()),
            ("searches_waiting", self.pool.under_way),
            ("queries_waiting", int(self.embedder.stats()["waiting"])),
        ):
            self.counters.put(name, value)

    async def _repeat(self, step: Callable[[], Awaitable[None]], seconds: float) -> None:
        """Call `step` for ever, whatever it raises: a task that ends would do so in silence."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await step()
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # Rust's panics are not Exceptions
                self.counters.add("task_failures")
                trace = "".join(traceback.format_exception(error))
                self.log.line("task_failed", task=step.__name__, error=repr(error), traceback=trace)

    async def _beats(self) -> None:
        self._beat()
        self.log.flush()

    async def _watch(self) -> None:
        """Switch to a new generation, rankers, rules or ads if they were published."""
        now = pointers(self.workspace)
        if now == self._seen or (now == self._refused and time.monotonic() < self._again):
            return
        try:
            snapshot, running, seen = await asyncio.to_thread(self._open_next)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # whatever a library makes of a file with unreadable content
            self.counters.add("swap_failures")
            self.log.line("generation_refused", error=str(error) or repr(error))
            self._refuse(now)
            return
        self._last = self.snapshot
        # Without an await in between: a request sees either the old snapshot or the new one.
        self.engine.swap(snapshot)
        self.embedder.swap(snapshot.encoder)
        self.running, self._running_seen = running, seen
        self._seen, self.behind = now, ""
        self.counters.add("swaps")
        self.counters.put("behind", 0)
        self.counters.put("generation", snapshot.generation.number)
        self.log.line("generation", number=snapshot.generation.number)
        self._trim_soon()

    async def _watch_experiments(self) -> None:
        """Start and stop experiments, also while a new generation is being opened."""
        snapshot = self.snapshot
        if experiment_files(self.workspace) == self._running_seen:
            return
        running, seen = await asyncio.to_thread(self._open_running, snapshot)
        if snapshot is self.snapshot:
            self.running, self._running_seen = running, seen
            name = running.kept.experiment.name if running and running.kept else None
            self.log.line("experiment", running=name)

    def _trim_soon(self) -> None:
        """Give back what the old generation held, once for many switches in a row."""
        if not self._trimming:
            self._trimming = True
            wait = max(_TRIM_SECONDS, self._trimmed + _TRIM_EVERY - time.monotonic())
            asyncio.get_running_loop().call_later(wait, self._trim)

    def _trim(self) -> None:
        self._trimming, self._trimmed = False, time.monotonic()
        asyncio.get_running_loop().run_in_executor(None, settle)

    def _refuse(self, now: tuple[Any, ...]) -> None:
        """Go on with what is served, and try what these pointers name again later."""
        self._refused, self._again = now, time.monotonic() + _AGAIN_SECONDS
        snapshot, workspace = self.snapshot, self.workspace
        unranked = snapshot.rankers is None and workspace.current_rankers.exists()
        unruled = snapshot.rules is None and workspace.current_rules.exists()
        unsold = not snapshot.campaigns and workspace.campaigns.exists()
        parts = (("rankers", unranked), ("rules", unruled), ("ads", unsold))
        missing = [name for name, is_so in parts if is_so]
        self.behind = (
            "What was published last cannot be opened; "
            f"generation {snapshot.generation.number} is served"
            f"{' without ' if missing else ''}{' and '.join(missing)}."
        )


def settle() -> None:
    """Give back the memory of what is no longer served."""
    gc.collect()
    trim_memory()


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
    """Stamps of the files that change when an index, rankers, rules, ads or an export do."""
    paths = (
        workspace.current,
        workspace.current_rankers,
        workspace.current_rules,
        workspace.campaigns,
        workspace.ad_models,
        *sorted(workspace.exports.glob(f"*/{MANIFEST}")),
        workspace.reranker / MANIFEST,
    )
    return tuple((str(path), stamp(path)) for path in paths)


def experiment_files(workspace: Workspace) -> tuple[Any, ...]:
    """Stamps of the files that change when an experiment is created, started or stopped."""
    paths = (workspace.current_experiment, *sorted(workspace.experiments.glob("[!.]*.json")))
    return tuple((str(path), stamp(path)) for path in paths)


def resident_kib() -> int:
    """Resident memory of this process in KiB; 0 where it is not known."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - read every second
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    except (OSError, ValueError, IndexError):
        return 0
