"""Starts the workers, which share one listening socket, and replaces those that die or hang.

While there are keys that may write, two more processes publish the changes of items (`updater`) and
embed their texts (`embedder`).
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from dataclasses import asdict
from typing import Any

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError, OmniError
from omnisearch.service.config import ServiceConfig
from omnisearch.service.gate.keys import Keys
from omnisearch.service.runtime.child import Child
from omnisearch.service.serving.counters import Counters
from omnisearch.service.serving.log import JsonLog

_POLL_SECONDS = 0.1
_HUNG_SECONDS = 30  # without a beat, after which a worker is killed
_LATE_SECONDS = 2.0  # a poll later than this means that the supervisor, so perhaps all, was paused
_LISTENING = 2048  # connections in the queue of the socket
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_CRASHES = (signal.SIGBUS, signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)


class Supervisor:
    """The workers of a service.

    Attributes:
        url: the address of the service.
    """

    def __init__(self, workspace: Workspace, config: ServiceConfig) -> None:
        """Bind the port; raises InputError if that fails or a setting is invalid."""
        self._keys = Keys(config)
        self.workspace, self.config = workspace, config
        try:
            self._log_fd = os.dup(2)
        except OSError:  # stderr is closed
            self._log_fd = os.open(os.devnull, os.O_WRONLY)
        self.log = JsonLog(self._log_fd)
        try:
            self._listening = listen(config.host, config.port)
        except OSError as error:
            why = error.strerror or error
            raise InputError(
                f"The service cannot listen at {config.host} port {config.port} ({why}).",
                where="service host, port",
                how="Choose another with --host and --port; port 0 picks a free one.",
            ) from error
        host = f"[{config.host}]" if ":" in config.host else config.host
        self.url = f"http://{host}:{self._listening.getsockname()[1]}"
        self._counters_fd = Counters.make(config.workers, workspace.root)
        self._counters = Counters(self._counters_fd, config.workers)
        self._shared = (self._counters_fd, self._log_fd)
        workers = range(config.workers)
        self._workers = [Child("worker", self.log.line, {"worker": slot}) for slot in workers]
        self._updater = Child("updater", self.log.line)
        self._embedder = Child("embedder", self.log.line)
        self._stopping = self._served = False
        self._polled = self._resumed = time.monotonic()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            OmniError: the first workers could not start; the log says why.
        """
        handlers = {number: signal.signal(number, self._stop) for number in _SIGNALS}
        try:
            self.log.line("starting", workers=self.config.workers)
            said = False
            while not self._stopping:
                self._note_pause()
                for worker in self._workers:
                    self._look_after(worker)
                if self._served:
                    self._look_after_updating()
                ready = [facts["ready"] for facts in self._counters.facts()]
                self._served = self._served or any(ready)
                if not said and all(ready):
                    said = True
                    self.log.line("listening", url=self.url)
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

    def _look_after(self, worker: Child) -> None:
        now, slot = self._polled, worker.named["worker"]
        process = worker.process
        if process is None:
            listening = self._listening.fileno()
            own = {"slot": slot, "listening": listening, "avoid": sorted(worker.avoid)}
            worker.begin(now, self._settings() | own, (*self._shared, listening))
            return
        status = worker.ended()
        facts = self._counters.facts()[slot]
        if status is None:
            if facts["ready"] and now - max(facts["beat"], self._resumed) > _HUNG_SECONDS:
                worker.log("hangs", pid=process.pid)
                process.kill()
            return
        for name in ("ready", "connections", "opening"):
            self._counters.put_of(slot, name, 0)
        if status in (2, 3, 4) and not self._served and not facts["ready"]:
            raise OmniError("A worker could not start.", how="See cannot_start in the log.")
        if facts["opening"] and -status in _CRASHES:
            worker.avoid.add(facts["opening"])
        worker.wait(now, young=not facts["ready"])
        self._counters.put_of(slot, "restarts", facts["restarts"] + 1)

    def _look_after_updating(self) -> None:
        children = (self._updater, self._embedder)
        if any(child.process is None for child in children):
            self._keys.look()
        for child in children:
            if child.process is None:
                if self._keys.writable:
                    child.begin(self._polled, self._settings(), self._shared)
            elif child.ended() is not None:
                child.wait(self._polled, young=False)
                if child is self._updater:
                    self._counters.put("updater_pid", 0)
                    self._counters.add("updater_restarts")

    def _settings(self) -> dict[str, Any]:
        return {
            "workspace": str(self.workspace.root),
            "config": asdict(self.config),
            "counters": self._counters_fd,
            "parent": os.getpid(),
            "log": self._log_fd,
        }

    def _stop(self, number: int, frame: Any) -> None:
        self._stopping = True

    def _end(self) -> None:
        """Let the workers finish running requests; kill those that take too long."""
        self._listening.close()
        children = [*self._workers, self._updater, self._embedder]
        alive = [child.process for child in children if child.process is not None]
        for process in alive:
            process.terminate()
        until = time.monotonic() + self.config.stop_seconds + 2
        for process in alive:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for child in children:
            child.pass_on()
        self.log.line("stopped")
        self.log.drain()


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
