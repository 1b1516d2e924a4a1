"""One trip's requests, sent to a node and, if that is late, to another as well."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any


class Race:
    """Requests that several nodes may have; the first answer to each counts.

    Attributes:
        answers: the position of a request → its answer.
        began: each node that was asked → when, of `time.monotonic()`, in the order of asking.
        errors: a node → the last error of its calls.
    """

    def __init__(self, requests: Sequence[Any]) -> None:
        self._requests = requests
        self.answers: dict[int, Any] = {}
        self.began: dict[int, float] = {}
        self.errors: dict[int, Exception] = {}
        self._calls: dict[tuple[int, int], Any] = {}  # of a node, for a request, under way
        self._ended: SimpleQueue[tuple[int, int]] = SimpleQueue()

    @property
    def over(self) -> bool:
        """Whether all requests are answered."""
        return len(self.answers) == len(self._requests)

    def send(self, node: int, method: Any, **given: Any) -> None:
        """Send a node what is not answered yet.

        Args:
            method: of a gRPC stub. given: such as the timeout of each call, in seconds.
        """
        self.began[node] = time.monotonic()
        for at, request in enumerate(self._requests):
            if at not in self.answers:
                call = self._calls[node, at] = method.future(request, **given)
                call.add_done_callback(partial(self._end, (node, at)))

    def _end(self, key: tuple[int, int], _: Any) -> None:
        self._ended.put(key)

    def wait(self, seconds: float) -> None:
        """Until all is answered, a call fails, or the time is over."""
        until = time.monotonic() + seconds
        failed = False
        while not (self.over or failed):
            try:
                failed = self._next(max(0.0, until - time.monotonic()))
            except Empty:
                return

    def wait_for_all(self) -> None:
        """Until all is answered, or all calls have ended: each at the end of its timeout."""
        while self._calls and not self.over:
            self._next(None)

    def _next(self, seconds: float | None) -> bool:
        """Take the next call that ends; whether it failed. Raises Empty if none ends in time."""
        import grpc

        key = self._ended.get(timeout=seconds)
        call, (node, at) = self._calls.pop(key), key
        try:
            self.answers.setdefault(at, call.result())
        except grpc.RpcError as error:
            self.errors[node] = error
            return True
        return False

    def end(self) -> set[int]:
        """Give up the calls that are under way; the nodes that did not answer all they were
        asked."""
        behind = {node for node, _ in self._calls} | set(self.errors)
        for call in self._calls.values():
            call.cancel()
        return behind
