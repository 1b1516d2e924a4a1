"""Fetching pictures from the web, and from nowhere else.

An `image` comes from the files of others. Its address must not let them reach what only this
machine can: the name is resolved here, each address is checked, and the connection is made to the
address that was checked. Redirects make connections of their own, so they are checked too.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.settings import check_origin, load_section

MAX_BYTES = 20_000_000
TIMEOUT_SECONDS, TOTAL_SECONDS = 10.0, 60.0  # for each read, for each picture with its redirects

_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

Origins = frozenset[tuple[str, int]]  # host and port


@dataclass(frozen=True)
class EnrichConfig:
    """The section [enrich] of the settings.

    Attributes:
        private_origins: origins that pictures are fetched from although their address is not
            public, separated by spaces. A proxy of the environment is used if it is one of them.
    """

    private_origins: str = ""

    def __post_init__(self) -> None:
        for origin in self.private_origins.split():
            check_origin(origin, "enrich private_origins")

    @property
    def origins(self) -> Origins:
        """The private origins as hosts and ports."""
        return frozenset(map(_host_and_port, self.private_origins.split()))


def _host_and_port(origin: str) -> tuple[str, int]:
    parts = urlsplit(origin)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def private_origins(workspace: Workspace) -> Origins:
    """What the settings of a workspace allow; raises InputError if they are invalid."""
    return load_section("enrich", EnrichConfig(), workspace.settings).origins


def fetch(url: str, allowed: Origins) -> bytes:
    """The content behind an http(s) URL, up to one byte over MAX_BYTES.

    Raises:
        OSError, ValueError, http.client.HTTPException: it cannot be fetched, took longer than
            TOTAL_SECONDS, or a host has no public address and is not one of `allowed`.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "omnisearch"})  # noqa: S310
    with _deadline() as deadline:
        opener = _opener(allowed, deadline)
        with opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
            content = bytearray()
            while len(content) <= MAX_BYTES and (part := answer.read1(65_536)):
                content += part
        deadline.check()
        return bytes(content[: MAX_BYTES + 1])


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, also where it embeds another."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if ip not in _PUBLIC_V6 or ip.teredo:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


@dataclass
class _Deadline:
    """The end of one fetch: its connections are shut, however slowly their bytes come."""

    end: float
    sockets: list[socket.socket] = field(default_factory=list)

    def check(self) -> None:
        if time.monotonic() >= self.end:
            raise TimeoutError(f"not complete after {TOTAL_SECONDS:g} s")

    def shut(self) -> None:
        for connected in self.sockets:
            with suppress(OSError):  # closed by the other side
                connected.shutdown(socket.SHUT_RDWR)


@contextmanager
def _deadline() -> Iterator[_Deadline]:
    deadline = _Deadline(time.monotonic() + TOTAL_SECONDS)
    timer = threading.Timer(TOTAL_SECONDS, deadline.shut)
    timer.daemon = True
    timer.start()
    try:
        yield deadline
    except (OSError, http.client.HTTPException):
        deadline.check()  # what a shut connection raises says nothing
        raise
    finally:
        timer.cancel()
        for connected in deadline.sockets:
            connected.close()


def _connect(
    host: str, port: int, timeout: float, allowed: Origins, deadline: _Deadline
) -> socket.socket:
    failed: OSError | None = None
    refused = ""
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM
    ):
        deadline.check()
        if (host.lower(), port) not in allowed and not is_public(str(address[0])):
            refused = f"{host} has no public address, and its origin is not in private_origins"
            continue
        connected = socket.socket(family, kind, protocol)
        try:
            connected.settimeout(min(timeout, max(0.01, deadline.end - time.monotonic())))
            connected.connect(address)
            connected.settimeout(timeout)
            deadline.sockets.append(connected.dup())
            return connected
        except OSError as error:
            failed = error
            connected.close()
    raise failed or OSError(refused or f"{host} has no address")


def _opener(allowed: Origins, deadline: _Deadline) -> urllib.request.OpenerDirector:
    """An opener for http and https alone whose connections are those of `_connect`."""

    def connect(address: tuple[str, int], timeout: float, source: Any = None) -> socket.socket:
        return _connect(*address, timeout, allowed, deadline)

    class Plain(http.client.HTTPConnection):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._create_connection = connect

    class Encrypted(http.client.HTTPSConnection):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._create_connection = connect

    class Http(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> Any:
            return self.do_open(Plain, request)

    class Https(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> Any:
            return self.do_open(Encrypted, request)

    # A proxy reaches what it likes, so it is only used if it is allowed itself.
    proxies = urllib.request.getproxies().items()
    chosen = {scheme: url for scheme, url in proxies if _host_and_port(url) in allowed}
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(chosen),
        Http(),
        Https(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener
