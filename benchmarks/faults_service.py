"""Faults under a running service: its files, disk, log and processes, while clients go on asking.

The service has two workers. One client asks searches, one `/healthz`, one reports events. Every
answer must be right, except on connections to a worker that was killed; an event may be refused
while its log cannot be written, and every acknowledged event must be in the log at the end.
"""

from __future__ import annotations

import http.client
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from faults_base import QUERIES, copy_of
from faults_files import rehash

MAIN = "from omnisearch.cli.main import main; main()"
RECOVERS_SECONDS = 90.0
TIMEOUT = 45.0  # of a client
OTHER = "search: other results"
KILLED_SECONDS = 2.0  # after a kill in which a lost connection is that of the killed worker


class Service:
    """`omnisearch serve` with two workers; its log is a pipe that may be left unread."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._reads = threading.Event()
        self._reads.set()
        command = [sys.executable, "-c", MAIN, "serve", "--workspace", str(root), "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--workers", "2"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "OMNISEARCH_SERVICE_DEADLINE_MS": "60000", "OMP_NUM_THREADS": "1"},
        )
        self.log: list[bytes] = []
        self._listening = threading.Event()
        self.port = 0
        threading.Thread(target=self._read, daemon=True).start()
        if not self._listening.wait(120):
            raise SystemExit(f"the service did not start:\n{b''.join(self.log).decode()}")

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if b'"listening"' in line:
                self.port = int(orjson.loads(line)["url"].rpartition(":")[2])
                self._listening.set()
            self._reads.wait()

    def read_log(self, reads: bool) -> None:
        """Stop reading the log, or go on."""
        (self._reads.set if reads else self._reads.clear)()

    def status(self) -> dict[str, Any]:
        return orjson.loads(ask(self.port, "GET", "/v1/status")[1])

    def workers(self) -> list[int]:
        """The process ids of the supervisor's children."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def kill_worker(self, draw: random.Random) -> None:
        with suppress(ProcessLookupError):
            os.kill(draw.choice(self.workers()), signal.SIGKILL)

    def wait_until_ready(self, generation: int) -> bool:
        """Whether both workers serve this generation before long."""
        end = time.monotonic() + RECOVERS_SECONDS
        while time.monotonic() < end:
            with suppress(OSError, ValueError, KeyError, http.client.HTTPException):
                workers = self.status()["workers"]
                ready = [w for w in workers if w["ready"] and w["generation"] == generation]
                if len(ready) == 2 and {w["pid"] for w in ready} == set(self.workers()):
                    return True
            time.sleep(0.2)
        return False


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """One request on a connection of its own."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)) as connection:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()


@dataclass
class Clients:
    """Three threads that ask until `stop`; `failures` are (when, what)."""

    port: int
    failures: list[tuple[float, str]] = field(default_factory=list)
    refused: int = 0  # events
    acknowledged: set[str] = field(default_factory=set)
    asked: int = 0
    pause: threading.Lock = field(default_factory=threading.Lock)  # held: no event is reported
    stopped: bool = False

    def __post_init__(self) -> None:
        self._threads = [
            threading.Thread(target=self._loop, args=(call,), daemon=True)
            for call in (self._search, self._health, self._event)
        ]
        self._right: dict[str, list[str]] = {}
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self.stopped = True
        for thread in self._threads:
            thread.join()

    def _loop(self, call: Callable[[int], str | None]) -> None:
        number = 0
        while not self.stopped:
            began = time.monotonic()
            try:
                said = call(number)
            except (OSError, http.client.HTTPException) as error:
                said = f"connection: {error!r}"
            if said:
                self.failures.append((began, said))
            self.asked += 1
            number += 1
            time.sleep(0.02)

    def _search(self, number: int) -> str | None:
        query = QUERIES[number % len(QUERIES)].replace(" ", "+")
        status, body = ask(self.port, "GET", f"/v1/search?q={query}&k=10")
        if status != 200:
            return f"search: {status} {body[:200].decode()}"
        found = [hit["id"] for hit in orjson.loads(body)["hits"]]
        return None if found == self._right.setdefault(query, found) else OTHER

    def _health(self, number: int) -> str | None:
        path = ("/healthz", "/readyz", "/metrics")[number % 3]
        status, body = ask(self.port, "GET", path)
        return None if status == 200 else f"{path}: {status} {body[:200].decode()}"

    def _event(self, number: int) -> str | None:
        key = f"event-{time.monotonic_ns()}"
        event = {"event_id": key, "query": "garden", "entity": "pin", "id": "p0000001"}
        body = orjson.dumps({"events": [event | {"action": "click"}]})
        with self.pause:
            status, said = ask(self.port, "POST", "/v1/feedback", body)
            if status in (200, 201):
                self.acknowledged.add(key)
        if status == 503:
            self.refused += 1
            return None
        return None if status in (200, 201) else f"feedback: {status} {said[:200].decode()}"


@dataclass
class Site:
    """A service, its clients, and what the faults need to do harm and to mend it."""

    service: Service
    clients: Clients
    draw: random.Random
    killed: list[tuple[float, float]] = field(default_factory=list)  # spans in which one died
    kept: list[Path] = field(default_factory=list)  # feedback logs that were moved away

    @property
    def root(self) -> Path:
        return self.service.root

    def kill(self) -> None:
        began = time.monotonic()
        self.service.kill_worker(self.draw)
        self.killed.append((began - TIMEOUT, began + KILLED_SECONDS))

    def live(self) -> int:
        return int((self.root / "CURRENT").read_text())

    def publish(self, harm: Callable[[Path], None] | None = None) -> int:
        """A copy of the newest good generation as the next one, harmed before it is published."""
        numbers = [int(p.name) for p in (self.root / "generations").iterdir() if p.name.isdigit()]
        number = max(numbers) + 1
        folder = self.root / "generations" / str(number)
        shutil.copytree(self.root / "generations" / str(min(numbers)), folder)
        if harm is not None:
            harm(folder)
        (self.root / ".CURRENT.new").write_text(f"{number}\n")
        (self.root / ".CURRENT.new").replace(self.root / "CURRENT")
        return number


def flipped_bit(site: Site) -> None:
    """A generation with a flipped bit is published, and a worker is killed."""

    def harm(folder: Path) -> None:
        path = folder / "pin" / "learned.npy"
        content = bytearray(path.read_bytes())
        content[site.draw.randrange(len(content))] ^= 1
        path.write_bytes(content)

    site.publish(harm)
    site.kill()
    time.sleep(8)
    site.publish()


def unreadable(site: Site) -> None:
    """A generation with right hashes and unreadable content is published."""

    def harm(folder: Path) -> None:
        name = site.draw.choice(
            (
                "pin/learned.hnsw",
                "product/columns.safetensors",
                "pin/ids.jsonl",
                "spelling.safetensors",
            )
        )
        path = folder / name
        path.write_bytes(site.draw.randbytes(path.stat().st_size))
        rehash(site.root, path)

    site.publish(harm)
    time.sleep(4)
    site.publish()


def truncated_in_place(site: Site) -> None:
    """A mapped file of the live generation is truncated: a worker that reads it dies."""
    folder = site.root / "generations" / str(site.live())
    began = time.monotonic()
    os.truncate(folder / "pin" / "learned.npy", 200)
    time.sleep(4)
    site.publish()
    time.sleep(4)
    site.killed.append((began - TIMEOUT, time.monotonic() + RECOVERS_SECONDS))


def kill_worker(site: Site) -> None:
    """A worker is killed."""
    site.kill()


def log_unread(site: Site) -> None:
    """Nobody reads the log for a while."""
    site.service.read_log(False)
    for _ in range(1500):
        ask(site.service.port, "GET", "/v1/search?q=garden&k=1")
    site.service.read_log(True)


def suspended(site: Site) -> None:
    """All processes are suspended, as by a laptop's lid."""
    everyone = [site.service.process.pid, *site.service.workers()]
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(33)  # more than a worker may hang, less than a search may take
    for pid in everyone:
        os.kill(pid, signal.SIGCONT)


def feedback_moved(site: Site) -> None:
    """The log of events is moved away, as a rotation would."""
    moved = site.root / f"feedback-{len(site.kept)}.db"
    for suffix in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            (site.root / f"feedback.db{suffix}").rename(moved.with_name(moved.name + suffix))
    site.kept.append(moved)


def feedback_deleted(site: Site) -> None:
    """The log of events is deleted; those acknowledged until then go with it."""
    with site.clients.pause:
        for path in site.root.glob("feedback.db*"):
            path.unlink()
        site.clients.acknowledged.clear()


def away(*names: str) -> Callable[[Site], None]:
    """A fault: files are missing for a while, a worker is killed, and they are put back."""

    def fault(site: Site) -> None:
        for name in names:
            (site.root / name).rename(site.root / f"{name}.away")
        site.kill()
        status, body = ask(site.service.port, "GET", "/v1/status")
        if str(site.root).encode() in body:
            site.clients.failures.append((time.monotonic(), f"/v1/status shows a path ({status})"))
        time.sleep(6)
        for name in names:
            (site.root / f"{name}.away").replace(site.root / name)

    fault.__doc__ = f"{', '.join(names)} missing, and a worker is killed."
    return fault


def garbage(name: str) -> Callable[[Site], None]:
    """A fault: a file has other bytes for a while, a worker is killed, and it is put back."""

    def fault(site: Site) -> None:
        path = site.root / name
        before = path.read_bytes() if path.exists() else None
        new = path.with_name(f"{path.name}.new")
        new.write_bytes(site.draw.randbytes(500))
        new.replace(path)
        site.kill()
        time.sleep(6)
        if before is None:
            path.unlink()
        else:
            new.write_bytes(before)
            new.replace(path)

    fault.__doc__ = f"{name} is garbage, and a worker is killed."
    return fault


def disk_full(site: Site) -> None:
    """The disk is full, and a worker is killed."""
    filling = site.root / "filling"
    with suppress(OSError), filling.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    site.kill()
    time.sleep(6)
    filling.unlink()


def read_only(site: Site) -> None:
    """The disk is mounted read-only, as after an error, and a worker is killed."""
    disk = site.root.parent
    if subprocess.run(["mount", "-o", "remount,ro", disk], capture_output=True).returncode:
        return  # files that are open for writing keep it writable
    site.kill()
    time.sleep(6)
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)


def hostile_text(site: Site) -> None:
    """A request with thousands of marks, and one with 7.8 MB of them."""
    lines = ["a" + "\u0301\u0323" * 1020] * 1900
    for queries in (lines[:1], lines):
        with suppress(OSError):
            ask(site.service.port, "POST", "/v1/embed", orjson.dumps({"queries": queries}))


UNRANKED = (away("rankers"), garbage("rankers/CURRENT"))
FAULTS: tuple[Callable[[Site], None], ...] = (
    *(kill_worker, flipped_bit, unreadable, truncated_in_place, log_unread, suspended),
    *(feedback_moved, feedback_deleted, hostile_text, disk_full, read_only),
    *(away("catalogue.db"), away("CURRENT"), away("query_cache.db"), *UNRANKED),
    *(garbage("CURRENT"), garbage("query_cache.db"), garbage("omnisearch.toml")),
    garbage("catalogue.db"),
)


@dataclass(frozen=True)
class Harm:
    """One fault, and what went wrong during and after it."""

    fault: str
    asked: int
    refused: int
    wrong: list[str]


def service_faults(base: Path, count: int, seed: int, disk: Path) -> Iterator[Harm]:
    """Do `count` faults in turn to one service whose workspace is on the file system `disk`."""
    root = disk / "workspace"
    copy_of(base, root)
    service = Service(root)
    clients = Clients(service.port)
    site = Site(service, clients, random.Random(seed))
    site.publish()
    service.wait_until_ready(site.live())
    try:
        for number in range(count):
            yield _one(site, FAULTS[number % len(FAULTS)])
            if service.process.poll() is not None:
                break
    finally:
        service.read_log(True)
        clients.stop()
        service.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        service.process.wait(60)
    missing = clients.acknowledged - written(root / "feedback.db", *site.kept)
    wrong = [f"{len(missing)} acknowledged events are lost"] if missing else []
    slow = time.monotonic() - began
    wrong += [f"SIGTERM took {slow:.1f} s"] if slow > 2 else []
    yield Harm("the end: SIGTERM", len(clients.acknowledged), clients.refused, wrong)


def _one(site: Site, fault: Callable[[Site], None]) -> Harm:
    clients, asked, refused = site.clients, site.clients.asked, site.clients.refused
    clients.failures.clear()
    site.killed.clear()
    wrong = []
    try:
        fault(site)
    except (OSError, http.client.HTTPException) as error:
        wrong.append(f"the fault itself: {error!r}")
    if not site.service.wait_until_ready(site.live()):
        wrong.append(f"not ready again: {_said(site.service)}")
    time.sleep(1)
    for when, what in list(clients.failures):
        lost = what.startswith("connection") and any(a <= when <= b for a, b in site.killed)
        # A worker without rankers, which says so in /readyz, ranks otherwise than its neighbour.
        unranked = what == OTHER and fault in UNRANKED
        if not (lost or unranked):
            wrong.append(what)
    name = (fault.__doc__ or "").split(".\n")[0].strip().rstrip(".")
    return Harm(name, clients.asked - asked, clients.refused - refused, wrong)


def _said(service: Service) -> str:
    """The last lines of the log that are not of requests."""
    lines = [line for line in service.log if b'"request"' not in line][-3:]
    return b" ".join(lines).decode(errors="replace")[-600:]


def written(*paths: Path) -> set[str]:
    """The event ids in logs of feedback."""
    found: set[str] = set()
    for path in paths:
        if path.exists():
            with closing(sqlite3.connect(path)) as db:
                found |= {key for (key,) in db.execute("SELECT event_id FROM events")}
    return found
