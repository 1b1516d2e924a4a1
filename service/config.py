"""What a service may be told: the `[service]` table of `omnisearch.toml`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.settings import check_ranges, load_section

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_HOST = re.compile(r"[\w.-]+|[0-9a-f.]*:[0-9a-f]*:[0-9a-f:.]*", re.ASCII | re.IGNORECASE)


_TIMED = ("header", "body", "write", "idle", "stop", "poll")


@dataclass(frozen=True)
class ServiceConfig:
    """The settings of a service. Every bound is one worker's unless it says otherwise.

    Attributes:
        host, port: where it listens; port 0 takes a free one.
        hosts: names under which it may be asked, separated by spaces, beside those of loopback.
            Empty: any name, but on loopback without API keys none (`allowed_hosts`).
        workers: processes that share the port.
        api_keys: a file with the sha256 of each API key, a line each; empty asks for none.
        cors: origins of other sites whose pages may call the API, separated by spaces.
        image_origins: origins of pictures that answers may link to, such as https://i.example.com.
        log_requests: write a line for each request. log_queries: with the query in it.
        deadline_ms: within which a search answers with what it has, where the caller names none.
        threads: searches that run at once. waiting: searches that may wait for them.
        rate: requests a second of one client, 0 without a limit; -1 is no limit on loopback and
            100 elsewhere. burst: requests that it may make at once.
        body_bytes, batch_bytes: largest body of a request, and of a batch of queries to embed.
        batch_queries: most queries of such a batch.
        connections: open at a time; those above are answered 503 and closed.
        header_seconds, body_seconds, write_seconds: that a client may take to send a request's
            head, to send its body, and to read an answer.
        idle_seconds: that a connection may wait for its next request.
        stop_seconds: for requests under way when the service stops.
        poll_seconds: between two looks for a new generation.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    hosts: str = ""
    workers: int = 1
    api_keys: str = ""
    cors: str = ""
    image_origins: str = ""
    log_requests: bool = True
    log_queries: bool = False
    deadline_ms: int = 500
    threads: int = 2
    waiting: int = 64
    rate: float = -1.0
    burst: int = 200
    body_bytes: int = 1_000_000
    batch_bytes: int = 8_000_000
    batch_queries: int = 20_000
    connections: int = 4096
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    write_seconds: float = 30.0
    idle_seconds: float = 60.0
    stop_seconds: float = 10.0
    poll_seconds: float = 1.0

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float, float]] = {
            "port": (0, 65_535),
            "workers": (1, 64),
            "deadline_ms": (1, 60_000),
            "threads": (1, 64),
            "waiting": (1, 100_000),
            "rate": (-1, 1e9),
            "burst": (1, 1_000_000_000),
            "body_bytes": (1_000, 1_000_000_000),
            "batch_bytes": (1_000, 1_000_000_000),
            "batch_queries": (1, 1_000_000),
            "connections": (1, 1_000_000),
            **{f"{name}_seconds": (0.05, 3600) for name in _TIMED},
        }
        check_ranges("service", vars(self), ranges)
        for name in ("cors", "image_origins"):
            for origin in getattr(self, name).split():
                check_origin(origin, f"service {name}")
        for name in self.hosts.split():
            if not _HOST.fullmatch(name):
                raise InputError(
                    f"{name!r} is not a name alone.",
                    where="service hosts",
                    how="Give names such as shop.example.com, with spaces between them, without "
                    "scheme, port or path.",
                )

    @property
    def client_rate(self) -> float:
        """Requests a second that one client may make; 0 without a limit."""
        if self.rate >= 0:
            return self.rate
        return 0.0 if self.host in LOOPBACK else 100.0

    @property
    def allowed_hosts(self) -> frozenset[str] | None:
        """Names in a request's Host header that are answered; None for any.

        A page of another site can have its name resolve to 127.0.0.1 and then read what a service
        there answers (DNS rebinding); the browser still says that name. With keys it has none.
        """
        if self.hosts or (self.host in LOOPBACK and not self.api_keys):
            return frozenset((*LOOPBACK, *self.hosts.lower().split()))
        return None


def check_origin(origin: str, where: str) -> None:
    """Raise InputError unless it is an origin: scheme, host and perhaps a port, nothing else."""
    try:
        parts = urlsplit(origin)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname)
        fine = fine and origin == f"{parts.scheme}://{parts.netloc}" and "@" not in origin
        fine = (
            fine and parts.port != 0 and all(sign.isalnum() or sign in ":/.-[]" for sign in origin)
        )
    except ValueError:
        fine = False
    if not fine:
        raise InputError(
            f"{origin!r} is not an origin.", where=where, how="Write https://i.example.com."
        )


def service_config(workspace: Workspace, **options: object) -> ServiceConfig:
    """The settings of a workspace: defaults, `omnisearch.toml`, environment, then `options`."""
    return load_section("service", ServiceConfig(), workspace.settings, options)


def read_keys(path: str) -> tuple[bytes, ...]:
    """The sha256 digests of a key file; raises InputError where it is not one."""
    if not path:
        return ()
    where, keys = str(path), []
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The file of API keys cannot be read ({error}).", where=where) from error
    for number, line in enumerate(lines, 1):
        word = line.partition("#")[0].strip()
        if not word:
            continue
        try:
            digest = bytes.fromhex(word)
        except ValueError:
            digest = b""
        if len(digest) != 32:
            raise InputError(
                "This is not the sha256 of a key in hex.",
                where=f"{where} line {number}",
                how="Make one with: printf %s KEY | sha256sum",
            )
        keys.append(digest)
    if not keys:
        raise InputError("The file of API keys holds no key.", where=where)
    return tuple(keys)
