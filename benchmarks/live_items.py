"""Items written over HTTP while searches run: how soon they are found, and what searches feel.

    python benchmarks/live_items.py [--workspace demo] [--rate 50] [--searches 20] [--seconds 30]
        [--workers 2]

Runs `omnisearch serve --write-keys` over a copy of the workspace and measures, in turn,

1. searches without writes, in an open loop of the log's most frequent queries (warm cache), and
   beside them every 50 ms one for a title that no item has;
2. the same while prices of random products change, `rate` requests a second of one item each.
   The searches for titles are now for those of new items: again and again one is written, searched
   for on a connection to each worker until all show it, then deleted and searched for until it is
   gone. The time counts from the acknowledgement to the last worker;
3. as 1, again.

The machine's speed changes from run to run: compare the p99 of searches within one.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from load import Connection, Measured, asked, closed_loop, connect, get, open_loop, run, zipf
from service_process import OmniSearch

from omnisearch.data.catalogue.items import head_queries
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace

KEY = "a key for this run"
POLL_SECONDS = 0.05
PATIENCE = 60.0  # seconds
QUERIES = 1_000


def request(method: str, path: str, content: Any = None) -> bytes:
    """The bytes of a write."""
    body = b"" if content is None else orjson.dumps(content)
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@contextmanager
def copied(workspace: Path) -> Iterator[Path]:
    """A copy of the workspace; files that never change are hard links."""

    def copy(source: str, target: str) -> object:
        if "db" in Path(source).suffix or "CURRENT" in source:
            return shutil.copy2(source, target)
        try:
            return os.link(source, target)
        except OSError:
            return shutil.copy2(source, target)

    with tempfile.TemporaryDirectory(prefix="live-", dir=workspace.parent) as folder:
        shutil.copytree(workspace, Path(folder) / "workspace", copy_function=copy)
        yield Path(folder) / "workspace"


class Asking:
    """A connection on which one request is asked after another."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._connection: Connection | None = None

    @classmethod
    async def to(cls, port: int) -> Asking:
        made = cls()
        made._connection = await connect(port, made._answered, keep=True)
        return made

    async def ask(self, content: bytes) -> tuple[int, Any]:
        """Status, and the body as JSON."""
        assert self._connection is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._connection.ask(content, 0.0)
        status, answer = await self._answer
        return status, orjson.loads(answer.partition(b"\r\n\r\n")[2])

    def _answered(self, _: Connection, status: int, answer: bytes) -> None:
        assert self._answer is not None
        self._answer.set_result((status, answer))


async def one_to_each(port: int, workers: int) -> list[Asking]:
    """A connection to each worker: a request id begins with what is its worker's own."""
    found: dict[str, Asking] = {}
    for _ in range(50 * workers):
        asking = await Asking.to(port)
        _, answer = await asking.ask(get(asked("/v1/search", "lamp")))
        found.setdefault(answer["request_id"].partition("-")[0], asking)
        if len(found) == workers:
            return list(found.values())
    raise RuntimeError("no connection to some worker")


def title_of(key: str) -> str:
    """A title of letters alone: none is taken for a misspelling of another."""
    return "".join(chr(97 + value % 26) for value in hashlib.sha256(key.encode()).digest())


def search_for(title: str) -> bytes:
    return get(asked("/v1/search", title, k=5, system="token"))


async def looking(port: int, workers: int, seconds: float) -> None:
    """Search for what is never there as often as `Probes` search, on each worker in turn."""
    connections = cycle(await one_to_each(port, workers))
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        await next(connections).ask(search_for(title_of("nothing")))
        await asyncio.sleep(POLL_SECONDS)


class Probes:
    """Items that are written, found, deleted and gone; seconds from each acknowledgement."""

    def __init__(self) -> None:
        self.found: list[float] = []
        self.gone: list[float] = []

    async def run(self, port: int, workers: int, seconds: float) -> None:
        connections = await one_to_each(port, workers)
        until, number = time.perf_counter() + seconds, 0
        while time.perf_counter() < until:
            key = f"probe-{number}"
            title = title_of(key)
            item = {"entity": "product", "id": key, "title": title, "price": 1 + number}
            write = request("POST", "/v1/items", {"items": [item]})
            self.found.append(await self._until(connections, write, title, key, True))
            remove = request("DELETE", f"/v1/items/product/{key}")
            self.gone.append(await self._until(connections, remove, title, key, False))
            number += 1

    async def _until(
        self, connections: list[Asking], write: bytes, title: str, key: str, there: bool
    ) -> float:
        status, answer = await connections[0].ask(write)
        assert status == 200, answer
        start, left = time.perf_counter(), list(connections)
        search = search_for(title)
        while left and time.perf_counter() < start + PATIENCE:
            asking = left[0]
            _, answer = await asking.ask(search)
            if any(hit["id"] == key for hit in answer["hits"]) == there:
                left.pop(0)
            else:
                await asyncio.sleep(POLL_SECONDS)
        return time.perf_counter() - start


def percentiles(values: list[float]) -> str:
    p50, p99 = np.percentile(values, (50, 99))
    return f"p50 {p50:6.2f} s, p99 {p99:6.2f} s, of {len(values)}"


def show(what: str, found: Measured) -> None:
    quantiles = ", ".join(f"p{q} {found.quantile(q):8.1f} ms" for q in (50, 99))
    failed = f"; failed {found.failed}" if found.failed else ""
    print(f"  {what:32}{quantiles}, {found.rate:5.1f}/s{failed}", flush=True)


async def without_writes(port: int, searches: list[bytes], options: argparse.Namespace) -> Measured:
    found, _ = await asyncio.gather(
        open_loop(port, searches, 32, options.seconds, options.searches),
        looking(port, options.workers, options.seconds),
    )
    return found


async def together(
    port: int, searches: list[bytes], writes: list[bytes], options: argparse.Namespace
) -> tuple[Measured, Measured, Probes]:
    probes = Probes()
    found, written, _ = await asyncio.gather(
        open_loop(port, searches, 32, options.seconds, options.searches),
        open_loop(port, writes, 32, options.seconds, options.rate),
        probes.run(port, options.workers, options.seconds),
    )
    return found, written, probes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workspace", type=Path, default=Path("demo"))
    parser.add_argument("--rate", type=float, default=50.0, help="writes a second")
    parser.add_argument("--searches", type=float, default=20.0, help="a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with copied(options.workspace.resolve()) as folder:
        workspace = Workspace.open(folder)
        db = open_catalogue(workspace.catalogue)
        queries = head_queries(db, QUERIES)
        products = [key for (key,) in db.execute("SELECT id FROM products ORDER BY id")]
        db.conn.close()
        random = np.random.default_rng(15)
        searches = [
            get(asked("/v1/search", queries[rank]))
            for rank in zipf(20_000, len(queries), 1.0).tolist()
        ]
        writes = [
            request("POST", "/v1/items", {"items": [_price(random, products)]})
            for _ in range(round(options.rate * options.seconds))
        ]
        keys = folder / "writers.txt"
        keys.write_text(hashlib.sha256(KEY.encode()).hexdigest())
        environment = {
            "OMNISEARCH_SERVICE_WRITE_KEYS": str(keys),
            "OMNISEARCH_SERVICE_DEADLINE_MS": "60000",
        }
        with OmniSearch(folder, options.workers, **environment) as service:
            print(
                f"{len(products):,} products; {options.workers} workers, "
                f"{options.searches:g} searches and {options.rate:g} writes a second"
            )
            run(closed_loop(service.port, searches, 4, 10.0))  # warms the cache
            before = run(without_writes(service.port, searches, options))
            show("searches without writes", before)
            found, written, probes = run(together(service.port, searches, writes, options))
            updates = service.status()["updates"]
            show("searches while items change", found)
            show("writes until acknowledged", written)
            after = run(without_writes(service.port, searches, options))
            show("searches without writes again", after)
            print(f"  a new item is found in all workers {percentiles(probes.found)}")
            print(f"  a deleted one is gone in all       {percentiles(probes.gone)}")
            p99 = np.mean([each.quantile(99) for each in (before, after)])
            print(
                f"  search p99 with to without: {found.quantile(99) / p99:.2f}; "
                f"{updates['publications']} publications, {updates['failures']} failed"
            )


def _price(random: np.random.Generator, products: list[str]) -> dict[str, Any]:
    key = products[int(random.integers(len(products)))]
    return {"entity": "product", "id": key, "price": round(float(random.uniform(1, 500)), 2)}


if __name__ == "__main__":
    main()
