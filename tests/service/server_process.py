"""A service in processes of its own, as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

MAIN = "from omnisearch.cli.main import main; main()"
START_SECONDS = 120.0
# A busy machine must not make answers that lack a source.
PATIENT = {"OMP_NUM_THREADS": "1", "OMNISEARCH_SERVICE_DEADLINE_MS": "20000"}


class Server:
    """`omnisearch serve` at a free port; `log` is what it wrote so far.

    `prepare` is Python that the supervisor executes first.
    """

    def __init__(
        self, workspace: Path, *options: object, prepare: str = "", **environment: str
    ) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        program = f"{prepare}\n{MAIN}"
        command = [sys.executable, "-c", program, "serve", "--workspace", workspace, "--port", 0]
        self.process = subprocess.Popen(
            [str(word) for word in (*command, *options)],
            stderr=self._log,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **PATIENT, **environment},
        )
        self.url = self._wait_until_listening()
        self.port = int(self.url.rpartition(":")[2])

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def log(self) -> str:
        return os.pread(self._log.fileno(), 100_000_000, 0).decode()

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's lines of one kind."""
        lines = [json.loads(line) for line in self.log.split("\n") if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body of GET."""
        return self._ask(urllib.request.Request(self.url + path, headers=headers))

    def post(self, path: str, body: bytes | Any, **headers: str) -> tuple[int, dict, bytes]:
        """The same of POST; what is not bytes is sent as JSON."""
        headers = {"Content-Type": "application/json"} | headers
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._ask(urllib.request.Request(self.url + path, content, headers))

    def delete(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """The same of DELETE."""
        request = urllib.request.Request(self.url + path, headers=headers, method="DELETE")
        return self._ask(request)

    def json(self, path: str) -> Any:
        """The body of a GET that must succeed."""
        status, _, body = self.get(path)
        assert status == 200, (status, body)
        return json.loads(body)

    def workers(self) -> list[int]:
        """The workers' process ids."""
        return [worker["pid"] for worker in self.json("/v1/status")["workers"]]

    def stop(self) -> int:
        """End it as Ctrl-C does; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        return self.process.returncode

    def _ask(self, request: urllib.request.Request) -> tuple[int, dict[str, str], bytes]:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, _lower(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, _lower(error.headers), error.read()

    def _wait_until_listening(self) -> str:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            for event in self.events("listening"):
                return event["url"]
            time.sleep(0.05)
        self.process.kill()
        self.process.wait()
        raise AssertionError(f"the service did not start:\n{self.log}")


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
