"""The clients of `serve.py` and `soak.py`: HTTP over raw sockets, as cheap as Python allows.

Requests are prepared bytes; while timing, only the status and length of a response are read. A
client slower than the service would measure itself.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any, TypeVar
from urllib.parse import quote

import numpy as np
import uvloop

T = TypeVar("T")
_LENGTH = b"content-length: "
_TICK = 0.001  # seconds between checks for due requests, in an open loop


def get(path: str, host: str = "localhost") -> bytes:
    """The bytes of a GET."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def post(path: str, body: bytes, kind: str, accept: str = "*/*") -> bytes:
    """The bytes of a POST."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        f"Accept: {accept}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def asked(path: str, text: str, **more: object) -> str:
    """The path with ?q= and other parameters."""
    rest = "".join(f"&{name}={quote(str(value))}" for name, value in more.items())
    return f"{path}?q={quote(text)}{rest}"


def zipf(count: int, size: int, exponent: float, seed: int = 0) -> np.ndarray:
    """int64 (count,): ranks below `size`, sampled in proportion to 1 / (1 + rank)**exponent."""
    shares = np.arange(1, size + 1, dtype=np.float64) ** -exponent
    return np.random.default_rng(seed).choice(size, count, p=shares / shares.sum())


@dataclass
class Measured:
    """The results of one load.

    Attributes:
        seconds: from the first request to the last counted response.
        milliseconds: latency of each answered request, from the time it was due.
        failed: status other than 200 → count; 0 is a lost connection.
        client_share, server_share: share of one core's time, while the load ran.
    """

    seconds: float = 0.0
    milliseconds: array[float] = field(default_factory=lambda: array("d"))
    failed: dict[int, int] = field(default_factory=dict)
    client_share: float = 0.0
    server_share: float = 0.0

    @property
    def rate(self) -> float:
        """Successful responses per second."""
        return len(self.milliseconds) / self.seconds if self.seconds else 0.0

    def quantile(self, percent: float) -> float:
        """Latency percentiles of the successful responses, in milliseconds."""
        return float(np.percentile(self.milliseconds, percent)) if self.milliseconds else np.nan


class Connection(asyncio.Protocol):
    """One connection with one request in flight; `answered` is called with each response.

    `answered(connection, status, answer)`, where `answer` is head and body if `keep`, else empty;
    status 0 means that the connection was closed without a response.
    """

    def __init__(
        self, answered: Callable[[Connection, int, bytes], None], keep: bool = False
    ) -> None:
        self._answered, self._keep = answered, keep
        self._parts: list[bytes] = []
        self._left = -1  # remaining bytes of the response; -1 before its head
        self._status = 0
        self.busy = False
        self.since = 0.0  # when the request in flight was due
        self.transport: Any = None
        self.tag: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def ask(self, request: bytes, since: float) -> None:
        self.busy, self.since = True, since
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            if self._parts:
                data = b"".join((*self._parts, data))
                self._parts.clear()
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._parts.append(data)
                return
            at = data.find(_LENGTH, 0, end)
            if at < 0:
                raise ValueError(f"an answer without a length: {data[:200]!r}")
            at += len(_LENGTH)
            self._status = int(data[9:12])
            self._left = int(data[at : data.index(b"\r", at)]) - (len(data) - end - 4)
        else:
            self._left -= len(data)
        if self._keep:
            self._parts.append(data)
        if self._left > 0:
            return
        answer = b"".join(self._parts) if self._keep else b""
        self._parts.clear()
        self._left, self.busy = -1, False
        self._answered(self, self._status, answer)

    @property
    def usable(self) -> bool:
        """Whether the other side has kept it open."""
        return self.transport is not None and not self.transport.is_closing()

    def connection_lost(self, error: Exception | None) -> None:
        self._left = -1
        self._parts.clear()
        busy, self.busy = self.busy, False
        if busy:
            self._answered(self, 0, b"")


async def connect(
    port: int, answered: Callable[[Connection, int, bytes], None], keep: bool = False
) -> Connection:
    """A new connection to the service."""
    loop = asyncio.get_running_loop()
    _, made = await loop.create_connection(lambda: Connection(answered, keep), "127.0.0.1", port)
    return made


async def closed_loop(
    port: int, requests: list[bytes], connections: int, seconds: float
) -> Measured:
    """A closed loop: each connection sends its next request at once, to measure peak throughput."""
    stream, found = cycle(requests), Measured()
    took, failed, clock = found.milliseconds, found.failed, time.perf_counter
    running, over = [connections], asyncio.get_running_loop().create_future()
    last = start = 0.0

    def answered(connection: Connection, status: int, _: bytes) -> None:
        nonlocal last
        now = clock()
        if status == 200:
            took.append((now - connection.since) * 1000)
            last = now
        else:
            failed[status] = failed.get(status, 0) + 1
        if now < end and status:
            connection.ask(next(stream), now)
            return
        running[0] -= 1
        if not running[0] and not over.done():
            over.set_result(None)

    opened = [await connect(port, answered) for _ in range(connections)]
    start = clock()
    end = start + seconds
    for connection in opened:
        connection.ask(next(stream), clock())
    await over
    found.seconds = max(last, end) - start
    for connection in opened:
        connection.transport.close()
    return found


async def open_loop(
    port: int, requests: list[bytes], connections: int, seconds: float, rate: float
) -> Measured:
    """An open loop: requests arrive at a rate, sampled per millisecond, regardless of responses.

    A request waits if all connections are busy, and its latency counts from when it was due, so a
    stalled service does not reduce the load.
    """
    stream, found = cycle(requests), Measured()
    took, failed, clock = found.milliseconds, found.failed, time.perf_counter
    waiting: deque[float] = deque()
    free: deque[Connection] = deque()
    under_way = [0]

    def answered(connection: Connection, status: int, _: bytes) -> None:
        under_way[0] -= 1
        if status == 200:
            took.append((clock() - connection.since) * 1000)
        else:
            failed[status] = failed.get(status, 0) + 1
            if not status:
                return
        if waiting:
            under_way[0] += 1
            connection.ask(next(stream), waiting.popleft())
        else:
            free.append(connection)

    opened = [await connect(port, answered) for _ in range(connections)]
    free += opened
    gaps = np.random.default_rng(1).exponential(1 / rate, max(1, round(rate * seconds)))
    # Rounded up to the tick, the resolution of the loop's timers.
    due = (np.ceil(np.cumsum(gaps) / _TICK) * _TICK).tolist()
    start, place = clock(), 0
    while place < len(due):
        now = clock() - start
        while place < len(due) and due[place] <= now:
            since = start + due[place]
            place += 1
            while free and not free[0].usable:
                free.popleft()
            if free:
                under_way[0] += 1
                free.popleft().ask(next(stream), since)
            else:
                waiting.append(since)
        await asyncio.sleep(_TICK)
    until = clock() + 30
    while (under_way[0] or waiting) and clock() < until:
        await asyncio.sleep(0.01)
    found.seconds = max(due[-1], clock() - start)
    failed[0] = failed.get(0, 0) + under_way[0] + len(waiting)
    for connection in opened:
        connection.transport.close()
    found.failed = {status: count for status, count in failed.items() if count}
    return found


async def ask_all(port: int, requests: list[bytes], connections: int) -> list[tuple[int, bytes]]:
    """Status and response (head and body) of each request, in order."""
    found: list[tuple[int, bytes]] = [(0, b"")] * len(requests)
    left, over = iter(enumerate(requests)), asyncio.get_running_loop().create_future()
    running = [0]

    def following(connection: Connection) -> None:
        for place, request in islice(left, 1):
            connection.tag = place
            connection.ask(request, 0.0)
            return
        running[0] -= 1
        if not running[0]:
            over.set_result(None)

    def answered(connection: Connection, status: int, answer: bytes) -> None:
        found[connection.tag] = status, answer
        following(connection)

    opened = [await connect(port, answered, keep=True) for _ in range(connections)]
    running[0] = len(opened)
    for connection in opened:
        following(connection)
    await over
    for connection in opened:
        connection.transport.close()
    return found


def run(work: Awaitable[T]) -> T:
    """The result of a coroutine on uvloop."""

    async def whole() -> T:
        return await work

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(whole())


def measured(work: Awaitable[Measured], pids: list[int]) -> Measured:
    """Run a load and measure its processor time here and in the service's processes."""
    before, own, start = processor_seconds(pids), time.process_time(), time.perf_counter()
    found = run(work)
    wall = time.perf_counter() - start
    found.client_share = (time.process_time() - own) / wall
    found.server_share = (processor_seconds(pids) - before) / wall
    return found


def processor_seconds(pids: list[int]) -> float:
    """Processor seconds that these processes have used so far."""
    total = 0.0
    for words in _stats(pids):
        total += (int(words[11]) + int(words[12])) / 100  # user and system, in ticks of 10 ms
    return total


def _stats(pids: list[int]) -> Iterator[list[str]]:
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
                yield file.read().rpartition(")")[2].split()
        except OSError:
            continue
