"""The nodes of a cluster: a call goes to one of them, and if it fails to another."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from omnisearch.data.workspace.errors import InputError, NotReady, OmniError
from omnisearch.indexer.cluster.config import ClusterConfig
from omnisearch.indexer.cluster.racing import Race
from omnisearch.indexer.cluster.time_left import seconds_left

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

T = TypeVar("T")
_AVOIDED = 5.0  # seconds for which a node that failed is asked only if no other is left
_TRIES = 2
_RACERS = 3  # nodes that one trip may ask: the second may itself wait for the one that hangs
# Of the time that there is, before another node is asked as well: usual trips take less.
_SHARE = 0.25
_LOOK = 0.1  # seconds between two looks at what the nodes do


class Unreachable(NotReady):
    """No node of the cluster answered. Exit status 3."""

    exit_code = 3


class Refused(OmniError):
    """A node did not do what it was asked to. Exit status 1."""


class Nodes:
    """Clients of the nodes, asked in turns. Safe for several threads."""

    def __init__(self, config: ClusterConfig) -> None:
        """Raises InputError if no node is named, or `qdrant-client` is not installed."""
        if not config.nodes:
            raise InputError(
                "No node of the cluster is named.",
                where="[cluster] urls",
                how="Set it to the nodes' addresses, such as 'http://127.0.0.1:6333'.",
            )
        try:
            from qdrant_client import QdrantClient, grpc
        except ImportError as error:
            raise InputError(
                "A cluster needs the package qdrant-client.",
                how="Run `pip install 'omnisearchsage[cluster]'`.",
            ) from error
        self.config = config
        self.clients: list[QdrantClient] = [
            QdrantClient(
                url=url,
                grpc_port=_grpc_port(url),
                prefer_grpc=True,
                api_key=config.api_key or None,
                timeout=int(config.load_timeout) or 1,
                check_compatibility=False,
            )
            for url in config.nodes
        ]
        # For searches: the client's own calls wait for each other.
        self._points = [grpc.PointsStub(_channel(url)) for url in config.nodes]
        self._lock, self._next = threading.Lock(), 0
        self._avoided = [0.0] * len(self.clients)
        # When the first call was sent of those that a node has not answered since its last answer.
        self._silent = [math.inf] * len(self.clients)
        self.failures = 0  # calls that a node did not answer
        self.repeated = 0  # times that another node was asked as well, since one was late

    def ask(self, call: Callable[[QdrantClient], T]) -> T:
        """What the first node answers that does answer, of two at most.

        Raises:
            Unreachable: none of them did.
        """
        last: Exception | None = None
        for at in self._order()[:_TRIES]:
            try:
                return call(self.clients[at])
            except failures() as error:
                if not _of_the_node(error):
                    raise
                last = error
                self._failed(at)
        raise self._unreachable(last) from last

    def together(self, method: str, requests: Sequence[Any]) -> list[Any]:
        """The answers of the points service to requests, all sent at once to one node. What this
        one leaves unanswered for a share of the time that there is, another is asked as well, and
        then a third; the first answer counts. No node is waited for longer than `[cluster]
        timeout`, nor than the request has time (`trips_until`).

        Args:
            method: such as 'QueryBatch'.

        Raises:
            Unreachable: none of them answered in time.
        """
        headers = (("api-key", self.config.api_key),) if self.config.api_key else ()
        race, order = Race(requests), self._order()[:_RACERS]
        for at in order:
            seconds = min(self.config.timeout, seconds_left())
            if seconds <= 0:
                break
            if race.began:
                with self._lock:
                    self.repeated += 1
            race.send(at, getattr(self._points[at], method), timeout=seconds, metadata=headers)
            if at == order[-1]:
                race.wait_for_all()
            else:
                race.wait(_SHARE * seconds)
            if race.over or not all(map(_of_the_node, race.errors.values())):
                break  # what is wrong with a request, no other node would mend
        self._judge(race)
        if race.over:
            return [race.answers[number] for number in range(len(requests))]
        last = next(reversed(race.errors.values()), None)
        raise self._unreachable(last or TimeoutError("the time of the request is over")) from last

    def _judge(self, race: Race) -> None:
        """Leave nodes alone that failed, or have answered nobody for the timeout: that a request
        was short of time, or another node faster, says nothing against a node."""
        behind, now = race.end(), time.monotonic()
        for at, began in race.began.items():
            error = race.errors.get(at)
            if at not in behind or (error is not None and not _of_the_node(error)):
                self._silent[at] = math.inf
                continue
            self._silent[at] = min(self._silent[at], began)
            broken = error is not None and not _is_late(error)
            if broken or now - self._silent[at] >= self.config.timeout:
                self._failed(at)

    def _unreachable(self, last: Exception | None) -> Unreachable:
        return Unreachable(
            f"No node of the cluster answered ({said(last)}).",
            where=", ".join(self.config.nodes),
            how="Check that the nodes run, and `[cluster] urls` and `timeout`.",
        )

    def _failed(self, at: int) -> None:
        with self._lock:
            self.failures += 1
            self._avoided[at] = time.monotonic() + _AVOIDED

    def _order(self) -> list[int]:
        """The nodes, beginning with the one whose turn it is; those that failed lately last."""
        with self._lock:
            self._next += 1
            start, n = self._next, len(self.clients)
            now = time.monotonic()
            return sorted(
                ((start + step) % n for step in range(n)), key=lambda at: self._avoided[at] > now
            )

    def close(self) -> None:
        """Close all connections."""
        for client in self.clients:
            client.close()


def _grpc_port(url: str) -> int:
    return int(urlsplit(url).port or 0) + 1


def _channel(url: str) -> Any:
    import grpc

    at = f"{urlsplit(url).hostname}:{_grpc_port(url)}"
    options = [("grpc.max_receive_message_length", -1)]
    if urlsplit(url).scheme == "https":
        return grpc.secure_channel(at, grpc.ssl_channel_credentials(), options)
    return grpc.insecure_channel(at, options)


@contextmanager
def plainly() -> Iterator[None]:
    """What nodes answer instead of doing something, as an error for the user: Refused."""
    try:
        yield
    except failures() as error:
        raise Refused(
            f"A node of the cluster refused: {said(error)}.",
            where="[cluster]",
            how="Check the settings, and the node's log.",
        ) from error


def wait_until(config: ClusterConfig, what: str, ready: Callable[[], bool]) -> None:
    """Wait until the nodes have completed a step.

    Raises:
        NotReady: they have not within `[cluster] load_timeout`.
    """
    until = time.monotonic() + config.load_timeout
    while not ready():
        if time.monotonic() > until:
            raise NotReady(
                f"The cluster did not complete {what} within {config.load_timeout:.0f} seconds.",
                where="[cluster] load_timeout",
                how="Raise it, or look at the nodes' logs.",
            )
        time.sleep(_LOOK)


def failures() -> tuple[type[Exception], ...]:
    """What a client raises if its node does not do what it is asked."""
    import grpc
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    return (grpc.RpcError, ResponseHandlingException, UnexpectedResponse)


def _of_the_node(error: Exception) -> bool:
    """Whether another node may answer what this one did not."""
    import grpc

    if isinstance(error, grpc.RpcError):
        code: Any = getattr(error, "code", lambda: None)()
        return code not in (
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.NOT_FOUND,
            grpc.StatusCode.UNAUTHENTICATED,
            grpc.StatusCode.PERMISSION_DENIED,
            grpc.StatusCode.ALREADY_EXISTS,
        )
    status = getattr(error, "status_code", None)
    return status is None or status >= 500


def _is_late(error: Exception | None) -> bool:
    import grpc

    code: Any = getattr(error, "code", lambda: None)()
    return code is grpc.StatusCode.DEADLINE_EXCEEDED


def said(error: Exception | None) -> str:
    """What an error of a node says, in one line."""
    details: Any = getattr(error, "details", None)
    text = str(details() if callable(details) else error)
    return " ".join(text.split())[:300]
