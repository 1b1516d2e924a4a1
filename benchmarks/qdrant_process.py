"""Real Qdrant nodes on loopback, for programs that measure with them and for tests.

For what measures, Qdrant's program is named by the environment variable OMNISEARCH_QDRANT.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_START_SECONDS = 60.0


class Place(NamedTuple):
    """Where a node runs: its address, and the command that starts a program there."""

    host: str = "127.0.0.1"
    command: tuple[str, ...] = ()


class Node:
    """One node, on loopback by default, whose gRPC port follows its HTTP port; it is started."""

    def __init__(
        self, folder: Path, program: str, first: Node | None = None, place: Place | None = None
    ) -> None:
        """`program`: Qdrant's. first: a node of the cluster to join."""
        folder.mkdir(parents=True)
        self.folder, self.port, self.place = folder, _three_free(), place or Place()
        self.log = folder.with_name(f"{folder.name}.log")
        self._program = program
        self._joins = [] if first is None else ["--bootstrap", first.peer]
        self.start()

    @property
    def url(self) -> str:
        return f"http://{self.place.host}:{self.port}"

    @property
    def peer(self) -> str:
        """Where the other nodes find it."""
        return f"http://{self.place.host}:{self.port + 2}"

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def bytes(self) -> int:
        """Of the blocks of all its files."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return sum(path.stat().st_blocks * 512 for path in files)

    def start(self) -> None:
        """Start it, also again with the files that it has, and wait until it answers.

        Raises RuntimeError, with the log, if it does not.
        """
        settings = {
            "SERVICE__HOST": self.place.host,
            "SERVICE__HTTP_PORT": str(self.port),
            "SERVICE__GRPC_PORT": str(self.port + 1),
            "CLUSTER__ENABLED": "true",
            "CLUSTER__P2P__PORT": str(self.port + 2),
            "STORAGE__STORAGE_PATH": str(self.folder / "storage"),
            "STORAGE__SNAPSHOTS_PATH": str(self.folder / "snapshots"),
            "TELEMETRY_DISABLED": "true",
            "LOG_LEVEL": "WARN",
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.place.command, self._program, "--uri", self.peer, *self._joins],
                cwd=self.folder,
                env=os.environ | {f"QDRANT__{name}": value for name, value in settings.items()},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until = time.monotonic() + _START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=5):  # noqa: S310
                    return
            except OSError as error:
                if self.process.poll() is not None or time.monotonic() > until:
                    self.stop()
                    said = self.log.read_text()
                    raise RuntimeError(f"Qdrant does not answer. Its log:\n{said}") from error
                time.sleep(0.1)

    def stop(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()


def program() -> str:
    """Qdrant's program; ends this one if none is named."""
    found = os.environ.get("OMNISEARCH_QDRANT")
    if not found:
        sys.exit("No Qdrant: set OMNISEARCH_QDRANT to its program.")
    return found


@contextmanager
def started(folder: Path, places: Sequence[Place], program: str) -> Iterator[list[Node]]:
    """Nodes of one cluster at these places, of Qdrant's program, with their files in `folder`."""
    nodes: list[Node] = []
    try:
        for number, place in enumerate(places):
            first = nodes[0] if nodes else None
            nodes.append(Node(folder / f"node{number}", program, first, place))
        yield nodes
    finally:
        for node in nodes:
            node.stop()


def _three_free() -> int:
    """The first of three free ports in a row, below those that the system gives to clients."""
    while True:
        port = random.randrange(15_000, 32_000)
        try:
            for each in range(port, port + 3):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", each))
        except OSError:
            continue
        return port


def processor_of(pid: int) -> float:
    """The processor seconds of a process, of all its threads; finer than its clock ticks."""
    total = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(path.read_text().split()[0])
        except OSError:  # the thread has ended
            continue
    return total / 1e9
