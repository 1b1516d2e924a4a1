"""Machines that are no machines: network namespaces joined by a bridge, which can be cut apart."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import permutations

import pytest
from qdrant_process import Place

# No frame to this address arrives anywhere.
_NOBODY = "02:00:00:00:00:01"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Network:
    """Namespaces on one bridge.

    Attributes:
        places: of each, where a node runs.
    """

    def __init__(self, count: int) -> None:
        self._name = f"omni{os.getpid() % 100_000}"
        self._net = net = f"10.213.{os.getpid() % 250}"
        self._names = [f"{self._name}-{number}" for number in range(count)]
        self.places = [
            Place(f"{net}.{number + 1}", ("ip", "netns", "exec", name))
            for number, name in enumerate(self._names)
        ]

    def make(self) -> None:
        """Raises CalledProcessError where none can be made."""
        _ip("link", "add", self._name, "type", "bridge")
        _ip("address", "add", f"{self._net}.254/24", "dev", self._name)
        _ip("link", "set", self._name, "up")
        for name, place in zip(self._names, self.places, strict=True):
            _ip("netns", "add", name)
            _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", name, "master", self._name, "up")
            _ip("-n", name, "address", "add", f"{place.host}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "link", "set", "lo", "up")

    def cut(self, *apart: int) -> None:
        """What these and the others send each other is lost in silence, until `mend`."""
        for one, other in permutations(range(len(self.places)), 2):
            if (one in apart) != (other in apart):
                host = self.places[other].host
                to = ("to", host, "lladdr", _NOBODY, "dev", "eth0", "nud", "permanent")
                _ip("-n", self._names[one], "neighbour", "replace", *to)

    def mend(self) -> None:
        """All reach all again."""
        for name in self._names:
            _ip("-n", name, "neighbour", "flush", "dev", "eth0", "nud", "permanent")

    def remove(self) -> None:
        for name in self._names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)
            subprocess.run(["ip", "link", "delete", name], capture_output=True)
        subprocess.run(["ip", "link", "delete", self._name], capture_output=True)


@contextmanager
def network(count: int) -> Iterator[Network]:
    """A network of so many namespaces; skips the test where none can be made."""
    if shutil.which("ip") is None:
        pytest.skip("no program `ip` to make network namespaces with")
    net = Network(count)
    try:
        try:
            net.make()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces can be made here: {error.stderr.decode().strip()}")
        yield net
    finally:
        net.remove()
