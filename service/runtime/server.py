"""The HTTP server of a worker: uvicorn with limits on connections.

uvicorn has no time limit for the head of a request or for a client that does not read its answer,
and no limit on the size of a head. It parses all requests that a client sends without waiting for
answers (pipelining) before it answers the first, and accepts all waiting connections at once, so
that one worker may get all of them. `Guarded` and `FairServer` add these limits and share out
connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any

import orjson
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from omnisearch.service.config import ServiceConfig
from omnisearch.service.serving.counters import Counters

logger = logging.getLogger("omnisearch.service")

MAX_HEAD = 32 * 1024  # bytes of a request's line and headers
_HEAD_END = b"\r\n\r\n"
_TURN = 0.002  # seconds a worker waits before it accepts a connection where another has fewer
_HEARD = 0.1  # seconds for what has arrived to be read, once a client's time is over


def _last_answer(status: str, what: str, how: str, more: str = "") -> bytes:
    """An answer to what is not parsed, after which the connection ends."""
    body = orjson.dumps({"error": {"what": what, "where": "", "how": how}})
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{more}connection: close\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


_FULL = _last_answer(
    *("503 Service Unavailable", "There are too many connections.", "Ask again."),
    "retry-after: 1\r\n",
)
_LARGE_HEAD = _last_answer(
    "431 Request Header Fields Too Large",
    f"The address and the headers of the request have more than {MAX_HEAD:,} bytes.",
    "Send fewer or shorter parameters.",
)
_NO_REQUEST = _last_answer("400 Bad Request", "This is no HTTP request.", "See /docs.")


class BehindChunks(Exception):
    """Ends the reading of a connection; its client has to send the other requests again."""


class Guarded(HttpToolsProtocol):
    """uvicorn's protocol with limits: time for heads and answers, size of heads.

    One request is parsed at a time. What a client sends before it has the answer waits unparsed,
    and nothing more is read from it meanwhile. Where a body of unknown length (chunked) ends is not
    known before it is parsed: if there is another request right behind it, the connection ends
    after the first one's answer.
    """

    service: ServiceConfig  # set by `serve`
    counters: Counters
    stopping = False

    def connection_made(self, transport: Any) -> None:
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._head_bytes = self._body_left = 0
        self._in_head = True
        self._behind_chunks = False
        self._last = b""  # the end of what has been parsed of a head
        self._unread, self._at = b"", 0  # what has come, and how much of it has been parsed
        if len(self.connections) >= self.service.connections:
            self.counters.add("connections_refused")
            self.transport = transport
            transport.write(_FULL)
            transport.close()
            return
        super().connection_made(transport)
        self.counters.put("connections", len(self.connections))
        if self.stopping:  # accepted before, so that the server's shutdown has not closed it
            transport.close()
            return
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        self._unset_keepalive_if_required()
        if self.flow is not None:
            super().connection_lost(exc)
            self.counters.put("connections", len(self.connections))

    def data_received(self, data: bytes) -> None:
        if self.flow is None or self._behind_chunks:  # refused
            return
        self._unread, self._at = self._unread[self._at :] + data, 0
        self._parse()

    def _parse(self) -> None:
        """Parse what has come, up to the end of a request that has to be answered first."""
        while self._at < len(self._unread) and not self.transport.is_closing():
            if self._in_head and self.cycle is not None and not self.cycle.response_complete:
                self.flow.pause_reading()
                return
            part = self._unread[self._at : self._end()]
            self._at += len(part)
            self._feed(part)

    def _end(self) -> int:
        """Where in `_unread` the head or the body ends that is being parsed."""
        if not self._in_head:
            return self._at + self._body_left if self._body_left else len(self._unread)
        # A head's end may have begun in what came before.
        begun = self._last + self._unread[self._at : self._at + len(_HEAD_END) - 1]
        if _HEAD_END in begun:
            return self._at + begun.index(_HEAD_END) + len(_HEAD_END) - len(self._last)
        found = self._unread.find(_HEAD_END, self._at)
        return len(self._unread) if found < 0 else found + len(_HEAD_END)

    def _feed(self, part: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(part)
            if self._head_bytes > MAX_HEAD:
                self.transport.write(_LARGE_HEAD)
                self.transport.close()
                return
            self._last = (self._last + part)[1 - len(_HEAD_END) :]
            if self._head_timer is None:
                self._wait_for_head()
        else:
            self._body_left = max(0, self._body_left - len(part))
        try:
            super().data_received(part)
        except UnicodeDecodeError:  # bytes that an address may not contain
            self.send_400_response("Invalid HTTP request received.")

    def on_message_begin(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._behind_chunks = True
            self.cycle.keep_alive = False
            raise BehindChunks
        super().on_message_begin()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._parse()

    def send_400_response(self, msg: str) -> None:
        if not self._behind_chunks:
            self.transport.write(_NO_REQUEST)
            self.transport.close()

    def on_headers_complete(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        self._in_head = False
        length = dict(self.headers).get(b"content-length", b"0")
        self._body_left = int(length) if length.isdigit() else 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head, self._head_bytes, self._last = True, 0, b""
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(
            self.service.write_seconds, self._soon, "_write_timer", self.transport.abort
        )

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def timeout_keep_alive_handler(self) -> None:
        """An idle connection's time is over, as uvicorn says."""
        self._soon("timeout_keep_alive_task", super().timeout_keep_alive_handler)

    def _wait_for_head(self) -> None:
        self._head_timer = self.loop.call_later(
            self.service.header_seconds,
            self._soon,
            "_head_timer",
            super().timeout_keep_alive_handler,
        )

    def _soon(self, timer: str, end: Callable[[], None]) -> None:
        """End a connection unless the client is heard in time, which stops `timer`.

        After a pause of the process, as by a laptop's lid, timers that are due fire before what
        has arrived meanwhile is read.
        """
        setattr(self, timer, self.loop.call_later(_HEARD, end))


class FairServer(uvicorn.Server):
    """Accepts connections one by one, and leaves them to workers that have fewer."""

    def __init__(
        self,
        config: uvicorn.Config,
        protocol: type[Guarded],
        listening: socket.socket,
        counters: Counters,
    ) -> None:
        super().__init__(config)
        self._protocol = protocol
        self._listening, self._counters = listening, counters
        self._accepting: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        self._listening.setblocking(False)
        self._accepting = asyncio.create_task(self._accept())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._accepting
        self._protocol.stopping = True
        self._listening.close()
        await super().shutdown(sockets=[])

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        state, config = self.server_state, self.config

        def protocol() -> asyncio.Protocol:
            return self._protocol(config, state, self.lifespan.state)

        while True:
            try:
                if len(state.connections) > self._fewest():
                    await asyncio.sleep(_TURN)
                accepted, _ = await loop.sock_accept(self._listening)
                with contextlib.suppress(OSError):  # that client has gone
                    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    # Shielded: uvloop closes what is cancelled here without saying so to the
                    # protocol, and the shutdown would wait for that connection in vain.
                    await asyncio.shield(loop.connect_accepted_socket(protocol, accepted))
            except OSError:  # out of file descriptors: wait until connections are closed
                await asyncio.sleep(0.05)
            except Exception:  # without this task the worker would accept nothing, in silence
                self._counters.add("task_failures")
                logger.exception("A connection could not be accepted.")
                await asyncio.sleep(0.05)

    def _fewest(self) -> int:
        """Connections of the worker that has the fewest."""
        return min(
            (facts["connections"] for facts in self._counters.facts() if facts["ready"]), default=0
        )


def serve(app: Any, config: ServiceConfig, listening: socket.socket, counters: Counters) -> None:
    """Answer requests until SIGTERM or SIGINT; running requests are finished first."""
    bounded = type("Bounded", (Guarded,), {"service": config, "counters": counters})
    settings = uvicorn.Config(
        app,
        http=bounded,
        ws="none",
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=config.idle_seconds,  # type: ignore[arg-type]
        timeout_graceful_shutdown=max(1, round(config.stop_seconds)),
    )
    FairServer(settings, bounded, listening, counters).run()
