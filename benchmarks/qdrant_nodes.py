"""Real Qdrant nodes on loopback, for programs that measure with them.

The program is named by the environment variable OMNISEARCH_QDRANT.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Node:
    """One node, whose gRPC port follows its HTTP port."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def bytes(self) -> int:
        """Of the blocks of all its files."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return sum(path.stat().st_blocks * 512 for path in files)


@contextmanager
def started(folder: Path, count: int) -> Iterator[list[Node]]:
    """So many nodes of one cluster, with their files in `folder`."""
    program = os.environ.get("OMNISEARCH_QDRANT")
    if not program:
        sys.exit("No Qdrant: set OMNISEARCH_QDRANT to its program.")
    nodes: list[Node] = []
    try:
        for number in range(count):
            first = nodes[0].port + 2 if nodes else None
            nodes.append(_start(program, folder / f"node{number}", first))
            _wait(nodes[-1], number + 1)
        yield nodes
    finally:
        for node in nodes:
            node.process.kill()
            node.process.wait()


def _start(program: str, folder: Path, bootstrap: int | None) -> Node:
    folder.mkdir(parents=True)
    port = _three_free()
    settings = {
        "SERVICE__HOST": "127.0.0.1",
        "SERVICE__HTTP_PORT": str(port),
        "SERVICE__GRPC_PORT": str(port + 1),
        "CLUSTER__ENABLED": "true",
        "CLUSTER__P2P__PORT": str(port + 2),
        "STORAGE__STORAGE_PATH": str(folder / "storage"),
        "STORAGE__SNAPSHOTS_PATH": str(folder / "snapshots"),
        "TELEMETRY_DISABLED": "true",
        "LOG_LEVEL": "WARN",
    }
    command = [program, "--disable-telemetry", "--uri", f"http://127.0.0.1:{port + 2}"]
    if bootstrap is not None:
        command += ["--bootstrap", f"http://127.0.0.1:{bootstrap}"]
    env = {**os.environ, **{f"QDRANT__{name}": value for name, value in settings.items()}}
    process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.DEVNULL)
    return Node(port, folder, process)


def _wait(node: Node, peers: int) -> None:
    """Until a node answers, and knows so many."""
    until = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{node.url}/cluster", timeout=5) as answer:  # noqa: S310
                if len(json.load(answer)["result"]["peers"]) >= peers:
                    return
        except (urllib.error.URLError, OSError, KeyError):
            pass
        if node.process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"The node in {node.folder} does not start.")
        time.sleep(0.1)


def _three_free() -> int:
    """A port that is free, and so are the next two."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        try:
            for other in (port + 1, port + 2):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", other))
            return port
        except (OSError, OverflowError):
            continue


def processor_of(pid: int) -> float:
    """The processor seconds of a process, of all its threads; finer than its clock ticks."""
    total = 0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(path.read_text().split()[0])
        except OSError:  # the thread has ended
            continue
    return total / 1e9
