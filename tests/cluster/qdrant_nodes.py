"""Real Qdrant nodes on loopback, and workspaces whose builds are in them."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from omnisearch import pipeline
from omnisearch.data.workspace import Workspace
from omnisearch.indexer.cluster.config import ClusterConfig
from omnisearch.indexer.cluster.nodes import Nodes

ROOT = Path(__file__).parents[2]
PROGRAM = Path(
    os.environ.get("OMNISEARCH_QDRANT") or ROOT / ".cache" / "qdrant" / "package" / "bin" / "qdrant"
)
_SECONDS = 60.0  # that a node may take until it answers


def need_program() -> None:
    """Skip the test where there is no Qdrant."""
    pytest.importorskip("qdrant_client", reason="the extra `cluster` is not installed")
    if not PROGRAM.is_file():
        pytest.skip(f"no Qdrant at {PROGRAM}; .ci/run fetches it, OMNISEARCH_QDRANT names another")


@contextmanager
def running(folder: Path, count: int) -> Iterator[list[str]]:
    """Start nodes that are one cluster; gives the URLs of their HTTP ports."""
    processes: list[subprocess.Popen[bytes]] = []
    urls: list[str] = []
    first = ""
    try:
        for number in range(count):
            port = _free_ports()
            peer = f"http://127.0.0.1:{port + 2}"
            processes.append(_start(folder / f"node-{number}", port, peer, first))
            first = first or peer
            urls.append(f"http://127.0.0.1:{port}")
            _wait(urls[-1], processes[-1], folder / f"node-{number}")
        yield urls
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(20)


def _start(folder: Path, port: int, peer: str, first: str) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True)
    settings = {
        "TELEMETRY_DISABLED": "true",
        "LOG_LEVEL": "WARN",
        "SERVICE__HOST": "127.0.0.1",
        "SERVICE__HTTP_PORT": str(port),
        "SERVICE__GRPC_PORT": str(port + 1),
        "CLUSTER__ENABLED": "true",
        "CLUSTER__P2P__PORT": str(port + 2),
        "STORAGE__STORAGE_PATH": str(folder / "storage"),
        "STORAGE__SNAPSHOTS_PATH": str(folder / "snapshots"),
    }
    environment = os.environ | {f"QDRANT__{name}": value for name, value in settings.items()}
    command = [str(PROGRAM), "--uri", peer, *(["--bootstrap", first] if first else [])]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
        )


def _wait(url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the node does not answer: {(folder / 'log').read_text()}")


def _free_ports() -> int:
    """The first of three free ports in a row, below those that the system gives to clients."""
    while True:
        port = random.randrange(15_000, 32_000)
        try:
            for each in range(port, port + 3):
                with socket.socket() as taken:
                    taken.bind(("127.0.0.1", each))
        except OSError:
            continue
        return port


@contextmanager
def asked(urls: list[str], name: str, **settings: object) -> Iterator[Nodes]:
    """Clients of the nodes."""
    nodes = Nodes(ClusterConfig(urls=" ".join(urls), name=name, **settings))  # type: ignore[arg-type]
    try:
        yield nodes
    finally:
        nodes.close()


def settle_in(
    workspace: Workspace, urls: list[str], name: str, more: str = "", timeout: float = 20.0
) -> None:
    """Write the settings with which builds are loaded into nodes."""
    # A busy machine must not leave anything out.
    there = f'[cluster]\nurls = "{" ".join(urls)}"\nname = "{name}"\ntimeout = {timeout}\n'
    workspace.settings.write_text(f'[index]\nbackend = "qdrant"\n{more}\n{there}')


def copied(trained: Workspace, root: Path, urls: list[str], name: str, more: str = "") -> Workspace:
    """`trained` with a second build of the same, generation 2, that is in nodes."""
    workspace = Workspace(root)
    shutil.copytree(trained.root, root)
    settle_in(workspace, urls, name, more)
    assert pipeline.build_index(workspace) == 2
    return workspace
