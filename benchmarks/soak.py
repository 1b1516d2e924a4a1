"""Load while generations change and workers are killed, with every response checked.

    python benchmarks/soak.py [--workspace demo] [--minutes 10] [--rate 60] [--swap-seconds 20]
        [--kill-seconds 45] [--workers 2] [--queries 120] [--connections 16]

The workspace is copied. Every `--swap-seconds` some of the items in the results get another title,
and a new generation is published at low priority: an update, every fifth time a rebuild. Every
`--kill-seconds` the last worker is killed (-9); its supervisor starts another. Meanwhile several
kinds of searches, embeddings, related queries and similar items are requested at a steady rate,
some searches by users of a running experiment, each of whom must get the answers of one variant,
over connections that are renewed now and then. The expected responses of each generation are
computed in process; a response over HTTP must equal that of the generation it names, to the last
bit of each score.

Prints responses by generation, how long the old one kept answering after a new one was published,
failed requests and whether their worker had been killed, and the memory of the first worker, which
is never killed, with its slope. Exits with 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from load import Connection, connect, run
from service_process import OmniSearch
from soak_truth import MARK, Question, Truth, begin, publish, questions, said, truth

RENEW = 300  # requests after which a connection is replaced
REBUILD_EVERY = 5
AFTER_KILL = (
    5.0  # seconds after a kill in which a lost connection of unknown owner is attributed to it
)
WARM_UP = 0.2  # share of the time before memory is expected to be stable


@dataclass
class Seen:
    """The responses.

    Attributes:
        answers: (generation or 0, question number, digest) → count.
        last: generation → when it last answered, seconds since 1970.
        degraded: responses reporting that a source was skipped.
        mixed: those of them with a title that is not from the generation they name.
        lost: failures on connections to a killed worker. faults: all other failures.
        milliseconds: latencies of successful responses.
    """

    answers: Counter[tuple[int, int, str]] = field(default_factory=Counter)
    last: dict[int, float] = field(default_factory=dict)
    degraded: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    lost: int = 0
    faults: list[str] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)


class Soak:
    """The load, the kills and the memory samples; `truths` is filled during the run."""

    def __init__(
        self, service: OmniSearch, asked: list[Question], options: argparse.Namespace
    ) -> None:
        self.service, self.asked, self.options = service, asked, options
        self.seen, self.truths = Seen(), dict[int, Truth]()
        self.kills: list[tuple[float, int]] = []
        self.memory: list[tuple[float, float, float]] = []  # seconds, resident MB, own MB
        self._free: asyncio.Queue[Connection] = asyncio.Queue()
        self._renewing: set[asyncio.Task[None]] = set()

    async def load(self, seconds: float) -> None:
        """Send requests at the rate until the time is over."""
        rng = np.random.default_rng(0)
        for _ in range(self.options.connections):
            await self._open()
        start = time.perf_counter()
        due = 0.0
        while due < seconds:
            due += float(rng.exponential(1 / self.options.rate))
            await asyncio.sleep(max(0.0, start + due - time.perf_counter()))
            connection = await self._free.get()
            while not connection.usable:  # closed while idle
                await self._open()
                connection = await self._free.get()
            place = int(rng.integers(len(self.asked)))
            connection.tag["place"] = place
            connection.tag["asked"] += 1
            connection.ask(self.asked[place].request, time.perf_counter())
        await asyncio.sleep(2.0)

    async def _open(self) -> None:
        while True:
            try:
                connection = await connect(self.service.port, self._answered, keep=True)
                break
            except OSError:
                await asyncio.sleep(0.05)
        connection.tag = {"asked": 0, "owner": None, "place": 0}
        self._free.put_nowait(connection)

    def _answered(self, connection: Connection, status: int, answer: bytes) -> None:
        tag = connection.tag
        if status != 200:
            self._failed(connection, status, answer)
        else:
            self.seen.milliseconds.append((time.perf_counter() - connection.since) * 1000)
            self._count(tag["place"], answer.partition(b"\r\n\r\n")[2])
            if tag["owner"] is None:
                tag["owner"] = owner(connection, self.service.port, self.service.pids)
        if status == 0 or not connection.usable or tag["asked"] >= RENEW:
            connection.transport.close()
            task = asyncio.get_running_loop().create_task(self._open())
            self._renewing.add(task)
            task.add_done_callback(self._renewing.discard)
        else:
            self._free.put_nowait(connection)

    def _failed(self, connection: Connection, status: int, answer: bytes) -> None:
        killed = {pid for _, pid in self.kills}
        late = bool(self.kills) and time.time() - self.kills[-1][0] < AFTER_KILL
        pid = connection.tag["owner"]
        if status == 0 and (pid in killed or (pid is None and late)):
            self.seen.lost += 1
            return
        said_so = answer.partition(b"\r\n\r\n")[2][:200]
        self.seen.faults.append(f"status {status} of worker {pid}: {said_so!r}")

    def _count(self, place: int, body: bytes) -> None:
        question = self.asked[place]
        if question.kind == "batch":
            self.seen.answers[0, place, said(body)] += 1
            return
        answer = orjson.loads(body)
        generation = answer.get("generation", 0)
        if generation:
            self.seen.last[generation] = time.time()
        if answer.get("degraded"):
            self.seen.degraded.append((generation, answer))
            return
        self.seen.answers[generation, place, said(answer)] += 1

    async def kill(self, seconds: float) -> None:
        """Kill the last worker every so often, and wait for the next."""
        until = time.monotonic() + seconds
        while time.monotonic() + self.options.kill_seconds < until:
            await asyncio.sleep(self.options.kill_seconds)
            pids = await asyncio.to_thread(self.service.workers)
            self.kills.append((time.time(), pids[-1]))
            os.kill(pids[-1], signal.SIGKILL)
            while True:
                await asyncio.sleep(0.5)
                now = await asyncio.to_thread(self.service.workers)
                if now[-1] != pids[-1]:
                    self.service.pids = now
                    break

    async def sample(self, seconds: float) -> None:
        """Sample the first worker's memory every second."""
        start = time.monotonic()
        while (at := time.monotonic() - start) < seconds:
            self.memory.append((at, *megabytes(self.service.pids[0])))
            await asyncio.sleep(1.0)

    async def swap(self, seconds: float, workspace: Path, pool: ProcessPoolExecutor) -> None:
        """Publish generation after generation."""
        loop, start, changed, number = asyncio.get_running_loop(), time.monotonic(), {}, 0
        while time.monotonic() - start + self.options.swap_seconds < seconds:
            number += 1
            left = start + number * self.options.swap_seconds - time.monotonic()
            await asyncio.sleep(max(0.0, left))
            anew = number % REBUILD_EVERY == 0
            work = (publish, workspace, self.asked, changed, number, anew)
            found, changed = await loop.run_in_executor(pool, *work)
            self.truths[found.generation] = found

    async def all(self, workspace: Path, pool: ProcessPoolExecutor) -> None:
        seconds = self.options.minutes * 60
        others = (self.kill(seconds), self.sample(seconds), self.swap(seconds, workspace, pool))
        await asyncio.gather(self.load(seconds), *others)


def owner(connection: Connection, port: int, pids: list[int]) -> int | None:
    """The process at the other end of a connection."""
    own = connection.transport.get_extra_info("sockname")[1]
    wanted = None
    for line in Path("/proc/net/tcp").read_text().split("\n")[1:]:
        words = line.split()
        if len(words) > 9 and int(words[1][9:], 16) == port and int(words[2][9:], 16) == own:
            wanted = f"socket:[{words[9]}]"
    for pid in pids if wanted else ():
        try:
            for entry in os.scandir(f"/proc/{pid}/fd"):
                if os.readlink(entry) == wanted:  # noqa: PTH115 - hundreds of them
                    return pid
        except OSError:
            continue
    return None


def megabytes(pid: int) -> tuple[float, float]:
    """Resident memory of a process, and the part not backed by files."""
    lines = Path(f"/proc/{pid}/status").read_text().split("\n")
    sizes = {line.partition(":")[0]: line.split()[1] for line in lines if line.startswith("Rss")}
    total = sum(int(size) for size in sizes.values())
    return total / 1024, int(sizes["RssAnon"]) / 1024


def wrong_answers(soak: Soak) -> list[str]:
    """The responses that differ from the generations' in-process answers."""
    first = next(iter(soak.truths.values()))
    wrong = []
    for (generation, place, digest), count in soak.seen.answers.items():
        known = soak.truths.get(generation) if generation else first
        if known is None:
            wrong.append(f"{count} answers of a generation {generation} that was not published")
        elif known.answers[place] != digest:
            question = soak.asked[place]
            wrong.append(
                f"{count} of generation {generation}: {question.kind} {question.options} "
                f"{question.text[:40]!r}"
            )
    for generation, answer in soak.seen.degraded:
        titles = soak.truths[generation].titles if generation in soak.truths else {}
        for hit in answer.get("hits", ()):
            title = titles.get((hit["entity"], hit["id"]), hit["title"])
            if hit["title"] != title or (MARK in hit["title"] and not titles):
                wrong.append(f"degraded, of generation {generation}: {hit['title']!r}")
    return wrong


def lateness(soak: Soak) -> list[float]:
    """Seconds from each publication to the last answer of the generation before it."""
    numbers = sorted(soak.truths)
    pairs = pairwise(numbers)
    last = soak.seen.last
    return [
        max(0.0, last[old] - soak.truths[new].published)
        for old, new in pairs
        if old in last and new in last
    ]


def report(soak: Soak) -> int:
    """Print the results; returns the exit status."""
    seen, truths = soak.seen, soak.truths
    kinds = Counter[str]()
    generations = Counter[int]()
    for (generation, place, _), count in seen.answers.items():
        kinds[soak.asked[place].kind] += count
        generations[generation] += count
    took = np.percentile(seen.milliseconds, (50, 90, 99)) if seen.milliseconds else (0, 0, 0)
    print(
        f"{sum(kinds.values()):,} answers checked: "
        + ", ".join(f"{n:,} {k}" for k, n in kinds.items())
    )
    print(f"p50 {took[0]:.1f} ms, p90 {took[1]:.1f} ms, p99 {took[2]:.1f} ms")
    shown = ", ".join(f"{number}: {generations[number]:,}" for number in sorted(truths))
    print(f"{len(truths)} generations, answers of each: {shown}")
    numbers = sorted(truths)
    differ = [
        sum(a != b for a, b in zip(truths[old].answers, truths[new].answers, strict=True))
        for old, new in pairwise(numbers)
    ]
    if differ:
        print(f"from one to the next at least {min(differ)} of {len(soak.asked)} answers changed")
    late = lateness(soak)
    if late:
        print(f"the old generation answered for at most {max(late):.1f} s after a publication")
    built = [found.seconds[0] for found in truths.values() if found.seconds[0]]
    if built:
        print(f"publishing took {np.median(built):.1f} s (median), {max(built):.1f} s at most")
    wrong = wrong_answers(soak)
    print(f"{len(soak.kills)} workers killed; {seen.lost} requests lost with them")
    print(f"{len(seen.degraded)} answers left a source out to keep their deadline, and said so")
    for name, found in (("faults", seen.faults), ("wrong answers", wrong)):
        print(f"{name}: {len(found)}")
        for text in found[:10]:
            print(f"  {text}")
    memory = np.array(soak.memory)
    every = max(1, len(memory) // 12)
    print("first worker, minute: resident MB (of which its own)")
    print(
        "  "
        + ", ".join(f"{at / 60:.1f}: {rss:.0f} ({own:.0f})" for at, rss, own in memory[::every])
    )
    settled = memory[memory[:, 0] >= WARM_UP * memory[-1, 0]]
    if len(settled) > 2:
        slopes = [np.polyfit(settled[:, 0] / 60, settled[:, column], 1)[0] for column in (1, 2)]
        print(f"  slope after the first fifth: {slopes[0]:+.2f} MB/min ({slopes[1]:+.2f})")
    print(f"load average {os.getloadavg()[0]:.1f} after")
    return 1 if wrong or seen.faults else 0


def copied(workspace: Path, folder: Path) -> Path:
    """A copy; files below the top level are never written in place, so linked if possible."""
    target = folder / "workspace"
    target.mkdir()
    for path in workspace.iterdir():
        if path.is_dir():
            try:
                shutil.copytree(path, target / path.name, copy_function=os.link)
            except (OSError, shutil.Error):
                shutil.rmtree(target / path.name, ignore_errors=True)
                shutil.copytree(path, target / path.name)
        elif not path.name.endswith((".lock", "-wal", "-shm")):
            shutil.copy2(path, target / path.name)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workspace", type=Path, default=Path("demo"))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=60.0, help="requests a second")
    parser.add_argument("--swap-seconds", type=float, default=20.0)
    parser.add_argument("--kill-seconds", type=float, default=45.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--queries", type=int, default=120, help="of the log's head")
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="omnisearch-") as folder,
        # Publishing has a lower priority than answering, as on a serving machine.
        ProcessPoolExecutor(1, spawn, begin) as pool,
    ):
        workspace = copied(options.workspace, Path(folder))
        asked = pool.submit(questions, workspace, options.queries).result()
        first = pool.submit(truth, workspace, asked, {}, 0.0).result()
        with OmniSearch(workspace, options.workers) as service:
            print(f"{len(asked)} questions, {options.workers} workers {service.pids}", flush=True)
            soak = Soak(service, asked, options)
            soak.truths[first.generation] = first
            run(soak.all(workspace, pool))
            status = report(soak)
    sys.exit(status)


if __name__ == "__main__":
    main()
