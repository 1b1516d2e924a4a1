"""The HTTP service under load, against a plain one, from another process over loopback.

    python benchmarks/serve.py [--workspace demo] [--seconds 10] [--workers 1 2]
        [--size 10000] [--exponent 1.0] [--connections 16] [--batch 1000] [--no-plain]

Queries are the log's most frequent ones, sampled by Zipf's law. For each kind of request it
measures the saturating load (a closed loop: every connection sends its next request at once), then
latencies at half of it (an open loop: requests arrive at that rate, and latency counts from when a
request was due). With a warm cache every worker has seen every query; a cold cache starts empty.
"client" and "service" are shares of one core: a client near 1 would have measured itself. Hit rate
and model load (the model's seconds per second) are the service's own counters; "degraded" counts
searches that skipped a source to keep their deadline.

The plain service (`plain_service.py`) runs in the same run with as many workers. Milliseconds
depend on the machine: look at the ratios. Nothing is written to the workspace.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import orjson
from load import Measured, asked, closed_loop, get, measured, open_loop, post, zipf
from service_process import OmniSearch, Plain, Process, untouched

from omnisearch.data.catalogue.items import head_queries
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace

STREAM = 20_000  # prepared requests, used in rotation
BATCHES = 50
BINARY = "application/octet-stream"


@dataclass
class Load:
    """A kind of request.

    Attributes:
        requests: to the service. plain: to the plain service.
        each: embeddings or searches per request.
    """

    name: str
    requests: list[bytes]
    plain: list[bytes]
    connections: int
    each: int = 1


def loads(queries: list[str], options: argparse.Namespace) -> dict[str, Load]:
    """The kinds of requests, all with the same sampled queries."""
    size, exponent, connections = len(queries), options.exponent, options.connections
    drawn = [queries[rank] for rank in zipf(STREAM, size, exponent).tolist()]
    embeds = [get(asked("/v1/embed", text)) for text in drawn]
    searches = [get(asked("/v1/search", text)) for text in drawn]
    draws = zipf(BATCHES * options.batch, size, exponent, seed=1).reshape(BATCHES, -1)
    batches = [[queries[rank] for rank in row.tolist()] for row in draws]
    lines = [post("/v1/embed", _lines(some), "text/plain", BINARY) for some in batches]
    plain_batches = [
        post("/embed", orjson.dumps({"queries": some}), "application/json") for some in batches
    ]
    plain_embeds = [get(asked("/embed", text)) for text in drawn]
    plain_searches = [get(asked("/search", text)) for text in drawn]
    return {
        "embed": Load("GET /v1/embed, cached", embeds, plain_embeds, connections),
        "batch": Load(
            f"POST /v1/embed, float16 rows, {options.batch:,} queries a request",
            lines,
            plain_batches,
            min(4, connections),
            options.batch,
        ),
        "warm": Load("GET /v1/search, warm cache", searches, plain_searches, connections),
        "cold": Load("GET /v1/search, cold cache", searches, plain_searches, connections),
    }


def _lines(texts: list[str]) -> bytes:
    return "\n".join(texts).encode()


def show(name: str, found: Measured, each: int, more: str = "") -> None:
    quantiles = "".join(f"{found.quantile(percent):9.2f}" for percent in (50, 90, 99))
    failed = f"; failed {found.failed}" if found.failed else ""
    print(
        f"  {name:22}{found.rate * each:11,.0f}/s{quantiles}   "
        f"client {found.client_share:4.2f}, service {found.server_share:4.2f}{more}{failed}",
        flush=True,
    )


def counted(service: OmniSearch, work: Callable[[], Measured]) -> tuple[Measured, str]:
    """The results of a load, and the service's counters."""
    before = service.counts()
    found = work()
    after = service.counts()
    by = {name: after[name] - before[name] for name in after}
    hits = by["memory_hits"] + by["store_hits"]
    looked_up = hits + by["encoded"] + by["joined"]
    rate = f", hits {hits / looked_up:.3f}" if looked_up else ""
    model = by["model_us"] / 1e6 / max(found.seconds, 1e-9)
    degraded = f", degraded {by['degraded']:.0f}" if by["degraded"] else ""
    return found, f"{rate}, model {model:.2f}{degraded}"


def saturating(
    service: Process, load: Load, plain: bool, options: argparse.Namespace
) -> Callable[[], Measured]:
    requests = load.plain if plain else load.requests
    loop: Callable[[], Awaitable[Measured]] = lambda: closed_loop(  # noqa: E731
        service.port, requests, load.connections, options.seconds
    )
    return lambda: measured(loop(), service.pids)


def half(
    service: Process, load: Load, plain: bool, options: argparse.Namespace, most: float
) -> Callable[[], Measured]:
    requests = load.plain if plain else load.requests
    # More connections than in the closed loop, so that due requests need not wait for one.
    return lambda: measured(
        open_loop(service.port, requests, 4 * load.connections, options.seconds, most / 2),
        service.pids,
    )


def measure_ours(
    service: OmniSearch, load: Load, options: argparse.Namespace, half_of: float | None = None
) -> float:
    """Print both loads; returns the saturating one in requests per second."""
    if half_of is None:
        found, more = counted(service, saturating(service, load, False, options))
        show("saturated", found, load.each, more)
        half_of = found.rate
    found, more = counted(service, half(service, load, False, options, half_of))
    show("half of that", found, load.each, more)
    return half_of


def ours(
    workspace: Path, queries: list[str], workers: int, options: argparse.Namespace
) -> dict[str, float]:
    kinds, rates = loads(queries, options), {}
    with untouched(workspace) as folder, OmniSearch(folder, workers) as service:
        print(f"  {kinds['cold'].name}")
        found, more = counted(service, saturating(service, kinds["cold"], False, options))
        show("saturated", found, 1, more)
        rates["cold"] = found.rate
        parts = [queries[start : start + 1000] for start in range(0, len(queries), 1000)]
        service.warm(
            [post("/v1/embed", _lines(some), "text/plain", BINARY) for some in parts], workers
        )
        for name in ("embed", "batch", "warm"):
            print(f"  {kinds[name].name}")
            rates[name] = measure_ours(service, kinds[name], options)
    with untouched(workspace) as folder, OmniSearch(folder, workers) as service:
        print(f"  {kinds['cold'].name}, begun anew")
        measure_ours(service, kinds["cold"], options, rates["cold"])
    return rates


def plain(
    workspace: Path, queries: list[str], workers: int, options: argparse.Namespace
) -> dict[str, float]:
    kinds, rates = loads(queries, options), {}
    port = options.plain_port
    with untouched(workspace) as folder, Plain(folder, workers, port) as service:
        for name in ("embed", "batch", "warm"):
            load = kinds[name]
            print(f"  {load.name.replace('/v1', '').split(',')[0]}")
            found = saturating(service, load, True, options)()
            show("saturated", found, load.each)
            rates[name] = found.rate
            show("half of that", half(service, load, True, options, found.rate)(), load.each)
    return rates | {"cold": rates["warm"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workspace", type=Path, default=Path("demo"))
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--size", type=int, default=10_000, help="different queries")
    parser.add_argument("--exponent", type=float, default=1.0, help="of Zipf's law")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--batch", type=int, default=1000, help="queries of a batch")
    parser.add_argument("--no-plain", action="store_true", help="without the plain service")
    parser.add_argument("--plain-port", type=int, default=8077)
    options = parser.parse_args()
    workspace = Workspace.open(options.workspace)
    db = open_catalogue(workspace.catalogue)
    queries = head_queries(db, options.size)
    db.conn.close()
    print(
        f"{len(queries):,} queries of the log, exponent {options.exponent:g}; "
        f"{options.connections} connections; {os.cpu_count()} cores, "
        f"load average {os.getloadavg()[0]:.1f} before"
    )
    print(f"{'':24}{'throughput':>13}{'p50 ms':>9}{'p90':>9}{'p99':>9}")
    for workers in options.workers:
        print(f"OmniSearch, {workers} worker{'s' * (workers > 1)}")
        rates = ours(options.workspace, queries, workers, options)
        if options.no_plain:
            continue
        print(f"plain service, {workers} worker{'s' * (workers > 1)}")
        first = plain(options.workspace, queries, workers, options)
        for name in rates:
            print(f"  {name}: {rates[name] / first[name]:.1f} times the plain throughput")
    print(f"load average {os.getloadavg()[0]:.1f} after, this run's own included")


if __name__ == "__main__":
    main()
