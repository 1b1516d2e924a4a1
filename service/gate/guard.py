"""Limits on clients: host names, request rates and body sizes."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from omnisearch.service.errors import Refusal, busy
from omnisearch.service.gate.turns import Turns
from omnisearch.service.serving.lane import SMALL

# Requests without a known key that one address may make: per second, and at once. They are counted
# apart, so that nobody who has a key is refused for the guesses of others at the same address.
WRONG_KEYS_RATE, WRONG_KEYS_BURST = 5.0, 50
_CLIENTS = 10_000  # whose buckets are kept
_ALL_BODIES = 256_000_000  # bytes of bodies in the memory of a worker at a time
# Seconds for what has arrived to be read, once a body's time is over: after a pause of the process
# the timer fires first.
_HEARD = 0.5


class Hosts:
    """Checks the Host header against the allowed names (None for any)."""

    def __init__(self, names: frozenset[str] | None) -> None:
        self._names = names
        self._known = lru_cache(256)(self._find)

    def check(self, host: bytes) -> None:
        """Raise Refusal 421 for another name; a request without a Host header passes."""
        if self._names is not None and host and not self._known(host):
            raise Refusal(
                421,
                "This host name is not one of the service's.",
                where="Host",
                how="Add the name to hosts in [service] of omnisearch.toml.",
            )

    def _find(self, host: bytes) -> bool:
        try:
            return (urlsplit("//" + host.decode("ascii")).hostname or "") in (self._names or ())
        except ValueError:
            return False


class Rates:
    """A token bucket for each client; the least recently seen ones are dropped."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate, self.burst = rate, float(burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, cost: float = 1.0) -> None:
        """Count a request of a client; raises Refusal 429 if it has made too many.

        Args:
            cost: 1 for a usual request.
        """
        now = time.monotonic()
        left, since = self._buckets.pop(client, (self.burst, now))
        left = min(self.burst, left + (now - since) * self.rate)
        refused = left < cost
        self._buckets[client] = (left if refused else left - cost, now)
        if len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)
        if refused:
            wait = max(1, int((cost - left) / self.rate + 0.999))
            raise Refusal(
                429, "Too many requests.", how=f"Ask again in {wait} s.", retry_after=wait
            )


class Bodies:
    """Reads whole bodies, within limits of size, time and memory.

    The parts of large ones are read in turns, between which searches come, and put together in a
    thread: to copy 8 MB takes longer than a search may wait.
    """

    def __init__(self, seconds: float, turns: Turns) -> None:
        self._seconds, self._turns = seconds, turns
        self._held = 0

    async def read(self, headers: Mapping[bytes, bytes], receive: Any, most: int) -> bytes | None:
        """The body of a request; None if the client has gone.

        Raises:
            Refusal: 413 if it is too large, 408 if it is too slow, 503 if too many are being read.
        """
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > most:
            raise _too_large(most)
        parts: list[bytes] = []
        now = asyncio.get_running_loop().time
        until = now() + self._seconds
        try:
            for wait in (0.0, _HEARD):
                try:
                    async with asyncio.timeout_at(until + wait):
                        return await self._whole(parts, receive, most)
                except TimeoutError:
                    until = now()
            raise Refusal(408, "The body of the request did not arrive in time.", close=True)
        finally:
            self._held -= sum(map(len, parts))

    async def _whole(self, parts: list[bytes], receive: Any, most: int) -> bytes | None:
        """Read the rest of a body, of which `parts` have come; returns all of it."""
        more, size = True, sum(map(len, parts))
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part = message.get("body", b"")
            parts.append(part)
            size += len(part)
            self._held += len(part)
            more = message.get("more_body", False)
            if size > most:
                raise _too_large(most)
            if self._held > _ALL_BODIES:
                raise busy("Too many large requests at a time.")
            if size > SMALL:
                await self._turns.wait()
        return b"".join(parts) if size <= SMALL else await asyncio.to_thread(b"".join, parts)


def _too_large(most: int) -> Refusal:
    return Refusal(
        413,
        f"The body of the request is larger than {most:,} bytes.",
        how="Send it in parts.",
        close=True,
    )
