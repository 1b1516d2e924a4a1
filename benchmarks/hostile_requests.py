"""Searches while other clients send requests that are meant to keep the service busy.

    python benchmarks/hostile_requests.py [--workspace demo] [--seconds 10] [--rate 30]
        [--loads NAME ...]

One worker answers searches that arrive at a steady rate (an open loop: latency counts from when a
search was due), first alone, then beside each hostile load, then alone again. The loads come from a
process of the lowest priority, so that it is the service that they keep busy, not the cores. "lost"
are searches without an answer 200. Milliseconds depend on the machine: look at the ratios. Nothing
is written to the workspace.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import orjson
from load import Measured, asked, get, open_loop, post, run
from service_process import OmniSearch, untouched

from omnisearch.data.catalogue.items import head_queries
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace

JSON = "application/json"
SEARCHERS = 16  # connections
SENDERS = 4  # connections of a load that sends large bodies
MANY = 300  # connections of a load of small ones
PAUSE = 0.02  # seconds between two requests of a sender

MARKS = "\n".join(f"a{number}" + "\u0316\u0301" * 1_020 for number in range(1_900)).encode()
BATCH = orjson.dumps({"queries": [f"lamp {number} " + "x" * 380 for number in range(20_000)]})
FIELDS = b",".join(b'"k%d":1' % number for number in range(1_000_000))
DEEP = b"[" * 3_900_000 + b"]" * 3_900_000


async def send(port: int, request: bytes) -> None:
    """Send the request again and again, on one connection after the other."""
    while True:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            while await reader.read(1 << 20):
                pass
            writer.close()
        await asyncio.sleep(PAUSE)


async def pipeline(port: int) -> None:
    """Ask for /docs without waiting for answers."""
    requests = get("/docs") * 2_000
    while True:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(requests)
            while await reader.read(1 << 20):
                pass
            writer.close()
        await asyncio.sleep(PAUSE)


async def trickle(port: int) -> None:
    """Send a body of 8 MB, a few bytes at a time."""
    head = post("/v1/embed", b"x" * 7_999_999, "text/plain")[:200]
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head)
            while not reader.at_eof():
                await asyncio.sleep(0.1)
                writer.write(b"lamp\n")
                await writer.drain()
            writer.close()
        await asyncio.sleep(PAUSE)


def sending(path: str, body: bytes, kind: str = JSON) -> tuple[int, Callable[[int], Awaitable]]:
    request = post(path, body, kind)
    return SENDERS, lambda port: send(port, request)


# Name → connections, and what each of them does.
LOADS: dict[str, tuple[int, Callable[[int], Awaitable]]] = {
    "marks": sending("/v1/embed", MARKS, "text/plain"),
    "batches of 8 MB": sending("/v1/embed", BATCH),
    "deep JSON": sending("/v1/embed", b'{"queries":' + DEEP + b"}"),
    "many fields": sending("/v1/embed", b"{" + FIELDS[:7_900_000].rpartition(b",")[0] + b"}"),
    "feedback of many fields": sending(
        "/v1/feedback", b'{"events":[{' + FIELDS[:900_000].rpartition(b",")[0] + b"}]}"
    ),
    "pipelined /docs": (MANY, pipeline),
    "slow bodies": (MANY, trickle),
}


def attack(name: str, port: int) -> None:
    """Put the load on the service until this process is ended."""
    os.nice(19)
    connections, work = LOADS[name]

    async def whole() -> None:
        await asyncio.gather(*(work(port) for _ in range(connections)))

    run(whole())


def searched(port: int, requests: list[bytes], options: argparse.Namespace) -> Measured:
    return run(open_loop(port, requests, SEARCHERS, options.seconds, options.rate))


def line(name: str, found: Measured, alone: float) -> None:
    told = " ".join(f"{found.quantile(percent):9.1f}" for percent in (50, 99, 100))
    ratio = found.quantile(99) / alone
    print(f"{name:26}{told}{ratio:10.1f}{sum(found.failed.values()):8}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workspace", type=Path, default=Path("demo"))
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--rate", type=float, default=30.0, help="searches per second")
    parser.add_argument("--loads", nargs="+", choices=list(LOADS), default=list(LOADS))
    options = parser.parse_args()
    db = open_catalogue(Workspace.open(options.workspace).catalogue)
    requests = [get(asked("/v1/search", text)) for text in head_queries(db, 200)]
    db.conn.close()
    found: dict[str, Measured] = {}
    spawned = multiprocessing.get_context("spawn")
    with untouched(options.workspace) as folder, OmniSearch(folder, 1) as service:
        service.warm(requests, 1)
        before = searched(service.port, requests, options)
        for name in options.loads:
            attacker = spawned.Process(target=attack, args=(name, service.port), daemon=True)
            attacker.start()
            run(asyncio.sleep(2.0))  # until all its connections are open
            found[name] = searched(service.port, requests, options)
            attacker.kill()
            attacker.join()
            service.warm(requests[:20], 1)  # until what it has left behind is answered
        after = searched(service.port, requests, options)
    alone = before.quantile(99)
    print(f"{options.rate:g} searches a second, one worker, {os.cpu_count()} cores")
    print(f"{'':26}{'p50 ms':>9}{'p99':>10}{'longest':>10}{'p99 ratio':>10}{'lost':>8}")
    line("alone", before, alone)
    for name, measured in found.items():
        line(name, measured, alone)
    line("alone again", after, alone)


if __name__ == "__main__":
    main()
