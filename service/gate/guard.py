"""Limits on clients: API keys, host names, request rates and body sizes."""

from __future__ import annotations

import asyncio
import hmac
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from omnisearch.service.errors import Refusal, busy
from omnisearch.service.headers import COOKIE

# Requests without a known key that one address may make: per second, and at once. They are counted
# apart, so that nobody who has a key is refused for the guesses of others at the same address.
WRONG_KEYS_RATE, WRONG_KEYS_BURST = 5.0, 50
_CLIENTS = 10_000  # whose buckets are kept
_ALL_BODIES = 256_000_000  # bytes of bodies in the memory of a worker at a time
# Seconds for what has arrived to be read, once a body's time is over: after a pause of the process
# the timer fires first.
_HEARD = 0.5
_KEY_COOKIE = re.compile(rb"(?:^|;)\s*" + COOKIE.encode() + rb"=([^;]*)")


class Keys:
    """The API keys, as sha256 digests: those that may read, and those that may also write.

    It is true where reading requires a key.
    """

    def __init__(self, readers: tuple[bytes, ...] = (), writers: tuple[bytes, ...] = ()) -> None:
        self._digests, self._writers = (*readers, *writers), frozenset(writers)
        self._open = not readers

    def __bool__(self) -> bool:
        return not self._open

    def client(self, headers: Mapping[bytes, bytes]) -> str | None:
        """A short name of the API key that a request carries; None if it carries no known key."""
        found = self._find(_shown_key(headers) or _cookie(headers))
        return None if found is None else found.hex()[:12]

    def writer(self, headers: Mapping[bytes, bytes]) -> str | None:
        """The same for a request that changes items; None if it carries no known key.

        A cookie is no key here: pages do not write, so that nobody can make them.

        Raises:
            Refusal: 403, if the key may not write, or none may.
        """
        if not self._writers:
            raise Refusal(
                403,
                "Items cannot be changed: this service has no keys that may write.",
                where="Authorization",
                how="Its operator can give some with --write-keys.",
            )
        found = self._find(_shown_key(headers))
        if found is not None and found not in self._writers:
            raise Refusal(
                403,
                "This API key may read, but not change items.",
                where="Authorization",
                how="Use a key that may write.",
            )
        return None if found is None else found.hex()[:12]

    def _find(self, key: bytes) -> bytes | None:
        """The digest of a known key, else None.

        All keys are compared, each in constant time, so that timing reveals nothing.
        """
        shown = sha256(key).digest()
        found = None
        for digest in self._digests:
            if hmac.compare_digest(digest, shown):
                found = digest
        return found


def _shown_key(headers: Mapping[bytes, bytes]) -> bytes:
    scheme, _, word = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer" and word:
        return word.strip()
    if b"x-api-key" in headers:
        return headers[b"x-api-key"].strip()
    return b""


def _cookie(headers: Mapping[bytes, bytes]) -> bytes:
    found = _KEY_COOKIE.search(headers.get(b"cookie", b""))
    return found[1].strip() if found else b""


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

    def take(self, client: str) -> None:
        """Count a request of a client; raises Refusal 429 if it has made too many."""
        now = time.monotonic()
        left, since = self._buckets.pop(client, (self.burst, now))
        left = min(self.burst, left + (now - since) * self.rate)
        refused = left < 1.0
        self._buckets[client] = (left if refused else left - 1.0, now)
        if len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)
        if refused:
            wait = max(1, int((1.0 - left) / self.rate + 0.999))
            raise Refusal(
                429, "Too many requests.", how=f"Ask again in {wait} s.", retry_after=wait
            )


class Bodies:
    """Reads whole bodies, within limits of size, time and memory."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._held = 0

    async def read(self, headers: Mapping[bytes, bytes], receive: Any, most: int) -> bytes | None:
        """The body of a request; None if the client has gone.

        Raises:
            Refusal: 413 if it is too large, 408 if it is too slow, 503 if too many are being read.
        """
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > most:
            raise _too_large(most)
        content = bytearray()
        now = asyncio.get_running_loop().time
        until, late, more = now() + self._seconds, False, True
        try:
            while more:
                try:
                    async with asyncio.timeout_at(until):
                        message = await receive()
                except TimeoutError:
                    if late:
                        raise Refusal(
                            408, "The body of the request did not arrive in time.", close=True
                        ) from None
                    until, late = now() + _HEARD, True
                    continue
                if message["type"] == "http.disconnect":
                    return None
                part = message.get("body", b"")
                content += part
                self._held += len(part)
                more = message.get("more_body", False)
                if len(content) > most:
                    raise _too_large(most)
                if self._held > _ALL_BODIES:
                    raise busy("Too many large requests at a time.")
        finally:
            self._held -= len(content)
        return bytes(content)


def _too_large(most: int) -> Refusal:
    return Refusal(
        413,
        f"The body of the request is larger than {most:,} bytes.",
        how="Send it in parts.",
        close=True,
    )
