"""Services in separate processes, for `serve.py` and `soak.py`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from load import ask_all, get, run

_START_SECONDS = 300.0
# What a service writes into a workspace.
_OWN_FILES = ("query_cache", "feedback", "searches", "experiments")
_MAIN = "from omnisearch.cli.main import main; main()"


class Process:
    """A running service; `pids` are the processes that answer."""

    def __init__(self, command: list[object], **environment: str) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            env={**os.environ, **environment},
        )
        self.port = 0
        self.pids: list[int] = []

    @property
    def log(self) -> str:
        return os.pread(self._log.fileno(), 1_000_000_000, 0).decode(errors="replace")

    def ended(self) -> RuntimeError:
        """Stop the service; returns the error to raise because it did not start."""
        self.stop()
        return RuntimeError(f"the service did not start:\n{self.log[-2000:]}")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class OmniSearch(Process):
    """`omnisearch serve` with default settings, on a free port."""

    def __init__(self, workspace: Path, workers: int, **environment: str) -> None:
        command = [sys.executable, "-c", _MAIN, "serve", "--workspace", workspace]
        super().__init__([*command, "--port", 0, "--workers", workers], **environment)
        until = time.monotonic() + _START_SECONDS
        while not self.port:
            if time.monotonic() > until or self.process.poll() is not None:
                raise self.ended()
            time.sleep(0.05)
            for line in self.log.split("\n"):
                if '"listening"' in line:
                    self.port = int(orjson.loads(line)["url"].rpartition(":")[2])
        self.pids = self.workers()

    def workers(self) -> list[int]:
        """Process ids of the workers, by slot."""
        return [worker["pid"] for worker in self.status()["workers"]]

    def status(self) -> dict[str, Any]:
        """/v1/status."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/status", timeout=60) as body:
            return orjson.loads(body.read())

    def counts(self) -> dict[str, float]:
        """The sum of the workers' counters, after the latest were written."""
        time.sleep(1.2)
        url = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(url, timeout=60) as body:
            lines = body.read().decode().split("\n")
        found: dict[str, float] = {}
        for line in lines:
            if line.startswith("omnisearch_worker_"):
                name, _, value = line.removeprefix("omnisearch_worker_").partition("{")
                name = name.removesuffix("_total")
                found[name] = found.get(name, 0.0) + float(value.rpartition(" ")[2])
        return found

    def warm(self, requests: list[bytes], workers: int) -> None:
        """Send each request to every worker; connections are distributed among them."""
        for _ in range(2):
            for request in requests:
                run(ask_all(self.port, [request] * (2 * workers), 2 * workers))


class Plain(Process):
    """`plain_service.py` over the same workspace."""

    def __init__(self, workspace: Path, workers: int, port: int) -> None:
        program = Path(__file__).with_name("plain_service.py")
        command = [sys.executable, program, workspace, "--port", port, "--workers", workers]
        super().__init__(command)
        self.port = port
        until = time.monotonic() + _START_SECONDS
        while len(self.pids) < workers:
            if time.monotonic() > until or self.process.poll() is not None:
                raise self.ended()
            time.sleep(0.2)
            try:
                answers = run(ask_all(port, [get("/ready")] * 8 * workers, 4 * workers))
            except OSError:
                continue
            bodies = [answer.partition(b"\r\n\r\n")[2] for status, answer in answers if status]
            self.pids = sorted({orjson.loads(body)["pid"] for body in bodies})


@contextmanager
def untouched(workspace: Path) -> Iterator[Path]:
    """A folder that works as the workspace, with its own empty query cache."""
    with tempfile.TemporaryDirectory(prefix="omnisearch-") as folder:
        for path in workspace.resolve().iterdir():
            if not path.name.startswith(_OWN_FILES):
                (Path(folder) / path.name).symlink_to(path)
        yield Path(folder)
