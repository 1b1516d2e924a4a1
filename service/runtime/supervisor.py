"""Starts the workers, which share one listening socket, and replaces those that die or hang."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError, OmniError
from omnisearch.service.config import ServiceConfig, read_keys
from omnisearch.service.serving.counters import Counters
from omnisearch.service.serving.log import JsonLog

_POLL_SECONDS = 0.1
_HUNG_SECONDS = 30  # without a beat, after which a worker is killed
_LATE_SECONDS = 2.0  # a poll later than this means that the supervisor, so perhaps all, was paused
_YOUNG_SECONDS = 10.0  # a worker that dies younger than this is restarted after ever longer pauses
_LONGEST_PAUSE = 30.0
_LISTENING = 2048  # connections in the queue of the socket
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_CRASHES = (signal.SIGBUS, signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)


@dataclass
class _Worker:
    slot: int
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    begin_at: float = 0.0
    pause: float = 0.5
    said: int = -1  # of a pipe, what the process writes outside its log
    avoid: set[int] = field(default_factory=set)  # generations that ended it when it opened them


class Supervisor:
    """The workers of a service.

    Attributes:
        url: the address of the service.
    """

    def __init__(self, workspace: Workspace, config: ServiceConfig) -> None:
        """Bind the port; raises InputError if that fails or a setting is invalid."""
        read_keys(config.api_keys)
        self.workspace, self.config = workspace, config
        try:
            self._log_fd = os.dup(2)
        except OSError:  # stderr is closed
            self._log_fd = os.open(os.devnull, os.O_WRONLY)
        self.log = JsonLog(self._log_fd)
        try:
            self._listening = listen(config.host, config.port)
        except OSError as error:
            raise InputError(
                f"The service cannot listen at {config.host} port {config.port} ({error}).",
                where="service host, port",
                how="Choose another with --host and --port; port 0 picks a free one.",
            ) from error
        host = f"[{config.host}]" if ":" in config.host else config.host
        self.url = f"http://{host}:{self._listening.getsockname()[1]}"
        self._counters_fd = Counters.make(config.workers, workspace.root)
        self._counters = Counters(self._counters_fd, config.workers)
        self._workers = [_Worker(slot) for slot in range(config.workers)]
        self._stopping = self._served = False
        self._polled = self._resumed = time.monotonic()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            OmniError: the first workers could not start; the log says why.
        """
        handlers = {number: signal.signal(number, self._stop) for number in _SIGNALS}
        try:
            self._say("starting", workers=self.config.workers)
            said = False
            while not self._stopping:
                self._note_pause()
                for worker in self._workers:
                    self._look_after(worker)
                ready = [facts["ready"] for facts in self._counters.facts()]
                self._served = self._served or any(ready)
                if not said and all(ready):
                    said = True
                    self._say("listening", url=self.url)
                time.sleep(_POLL_SECONDS)
        finally:
            self._end()
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _note_pause(self) -> None:
        """Notice a pause of this process: in a suspend the workers could not beat either."""
        now = time.monotonic()
        if now - self._polled > _LATE_SECONDS:
            self._resumed = now
        self._polled = now

    def _look_after(self, worker: _Worker) -> None:
        now = self._polled
        process = worker.process
        self._pass_on(worker)
        if process is None:
            if now >= worker.begin_at:
                try:
                    self._start(worker)
                except OSError as error:  # no memory, no processes, no file descriptors
                    self._say("worker_not_started", worker=worker.slot, error=str(error))
                    self._pause(worker, young=True)
            return
        status = process.poll()
        if status is None:
            facts = self._counters.facts()[worker.slot]
            if facts["ready"] and now - max(facts["beat"], self._resumed) > _HUNG_SECONDS:
                self._say("worker_hangs", worker=worker.slot, pid=process.pid)
                process.kill()
            return
        facts = self._counters.facts()[worker.slot]
        for name in ("ready", "connections", "opening"):
            self._counters.put_of(worker.slot, name, 0)
        self._pass_on(worker)
        os.close(worker.said)
        self._say("worker_ended", worker=worker.slot, pid=process.pid, status=status)
        worker.process = None
        if status in (2, 3, 4) and not self._served and not facts["ready"]:
            raise OmniError("A worker could not start.", how="See cannot_start in the log.")
        if facts["opening"] and -status in _CRASHES:
            worker.avoid.add(facts["opening"])
        young = now - worker.started < _YOUNG_SECONDS or not facts["ready"]
        self._pause(worker, young)
        self._counters.put_of(worker.slot, "restarts", facts["restarts"] + 1)

    def _pause(self, worker: _Worker, young: bool) -> None:
        """Say when to start a worker again: one that ended young, after an ever longer pause."""
        worker.pause = min(2 * worker.pause, _LONGEST_PAUSE) if young else 0.5
        worker.begin_at = self._polled + (worker.pause if young else 0.0)

    def _pass_on(self, worker: _Worker) -> None:
        """Log what a worker wrote to stdout and stderr outside its log, as libraries do."""
        if worker.process is not None:
            with contextlib.suppress(BlockingIOError):
                text = os.read(worker.said, 64 * 1024).decode("utf-8", "replace").strip()
                if text:
                    self._say("worker_said", worker=worker.slot, text=text)

    def _start(self, worker: _Worker) -> None:
        settings = {
            "workspace": str(self.workspace.root),
            "config": asdict(self.config),
            "slot": worker.slot,
            "counters": self._counters_fd,
            "listening": self._listening.fileno(),
            "parent": os.getpid(),
            "log": self._log_fd,
            "avoid": sorted(worker.avoid),
        }
        module = "omnisearch.service.runtime.worker"
        said, written = os.pipe()
        for end in (said, written):  # what does not fit is lost, and the worker goes on
            os.set_blocking(end, False)
        try:
            worker.process = subprocess.Popen(
                [sys.executable, "-m", module, orjson.dumps(settings).decode()],
                pass_fds=(self._counters_fd, self._listening.fileno(), self._log_fd),
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
            )
        except OSError:
            os.close(said)
            raise
        finally:
            os.close(written)
        worker.said, worker.started = said, time.monotonic()

    def _stop(self, number: int, frame: Any) -> None:
        self._stopping = True

    def _end(self) -> None:
        """Let the workers finish running requests; kill those that take too long."""
        self._listening.close()
        alive = [worker.process for worker in self._workers if worker.process is not None]
        for process in alive:
            process.terminate()
        until = time.monotonic() + self.config.stop_seconds + 2
        for process in alive:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for worker in self._workers:
            self._pass_on(worker)
        self._say("stopped")
        self.log.drain()

    def _say(self, event: str, **fields: Any) -> None:
        self.log.line(event, **fields)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; raises OSError if the address is taken or not one of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen(_LISTENING)
    except OSError:
        found.close()
        raise
    return found
