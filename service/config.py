"""Settings of the service: the `[service]` table of `omnisearch.toml`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.settings import check_origin, check_ranges, load_section

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_HOST = re.compile(r"[\w.-]+|[0-9a-f.]*:[0-9a-f]*:[0-9a-f:.]*", re.ASCII | re.IGNORECASE)


_TIMED = ("header", "body", "write", "idle", "stop", "poll")


@dataclass(frozen=True)
class ServiceConfig:
    """Settings of a service. Limits hold for each worker unless stated otherwise.

    Attributes:
        host, port: where the service listens; port 0 picks a free one.
        hosts: names accepted in the Host header besides those of loopback, separated by spaces.
            Empty: any name, but only those of loopback where it listens there without API keys.
        workers: processes that share the port.
        api_keys: file of the API keys (`service.key_files`); empty: no key is required to read.
        write_keys: the same, of keys that may also change items unless their line says otherwise.
        cors: origins of other sites whose pages may call the API, separated by spaces.
        image_origins: origins of remote images that may be shown, such as https://i.example.com.
        log_requests: log a line for each request. log_queries: include the query in it.
        deadline_ms: time limit of a search for which the caller gives none.
        threads: searches that run at once. waiting: searches that may be queued.
        rate: requests per second of one client; 0: no limit; -1: no limit on loopback, 100
            elsewhere. burst: requests that a client may make at once.
        body_bytes, batch_bytes: size limit of a body, and of the body of POST /v1/embed.
        batch_queries: most queries in one POST /v1/embed.
        connections: open at a time; further ones are answered with 503 and closed.
        header_seconds, body_seconds, write_seconds: time limits for a client to send the headers
            of a request, to send its body, and to read the answer.
        idle_seconds: how long a connection may be idle.
        stop_seconds: how long the service waits for running requests when it stops.
        poll_seconds: time between two checks for a new generation.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    hosts: str = ""
    workers: int = 1
    api_keys: str = ""
    write_keys: str = ""
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
    poll_seconds: float = 0.1

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
                    f"{name!r} is not a host name.",
                    where="service hosts",
                    how="Give names such as shop.example.com, separated by spaces, without "
                    "scheme, port or path.",
                )

    @property
    def client_rate(self) -> float:
        """Requests per second that one client may make; 0: no limit."""
        if self.rate >= 0:
            return self.rate
        return 0.0 if self.host in LOOPBACK else 100.0

    @property
    def allowed_hosts(self) -> frozenset[str] | None:
        """Names accepted in the Host header; None for any.

        Another site can let its name resolve to 127.0.0.1, and its pages could then read what a
        service there answers (DNS rebinding). The browser still sends that site's name as Host.
        With API keys this is no danger: the site's pages do not have one.
        """
        if self.hosts or (self.host in LOOPBACK and not self.api_keys):
            return frozenset((*LOOPBACK, *self.hosts.lower().split()))
        return None


def service_config(workspace: Workspace, **options: object) -> ServiceConfig:
    """Settings: defaults, then `omnisearch.toml`, the environment and `options`."""
    return load_section("service", ServiceConfig(), workspace.settings, options)
