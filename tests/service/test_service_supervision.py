"""The service stays up: damaged generations, an unread log, pauses, a stop after load."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from server_process import MAIN, PATIENT, Server
from test_service_workers import wait_for

from omnisearch import pipeline
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import entry_of, sealed
from omnisearch.indexer.verify import rollback

BEHIND = "What was published last cannot be opened; generation 1 is served."


def flip(path: Path) -> None:
    """Change one bit in the middle of a file; again, and it is as before."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def metric(server: Server, name: str) -> list[int]:
    """Its value for each worker."""
    lines = server.get("/metrics")[2].decode().splitlines()
    return [int(line.split()[1]) for line in lines if line.startswith(f"omnisearch_{name}{{")]


def ready(server: Server) -> list[dict[str, Any]]:
    return [worker for worker in server.json("/v1/status")["workers"] if worker["ready"]]


@pytest.mark.slow
def test_a_worker_that_cannot_open_the_live_generation_serves_an_older_one(
    served: Workspace,
) -> None:
    with Server(served.root, "--workers", 2) as server:
        number = pipeline.build_index(served)
        wait_for(lambda: {worker["generation"] for worker in ready(server)} == {number})
        victim = served.generations / str(number) / "pin" / "learned.npy"
        flip(victim)
        killed, kept = server.workers()
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: len(ready(server)) == 2 and killed not in server.workers())
        assert kept in server.workers()
        assert sorted(worker["generation"] for worker in ready(server)) == [1, number]
        assert sorted(metric(server, "worker_behind")) == [0, 1]
        # A file that is cut short in place ends the workers that have it mapped.
        os.truncate(victim, 10)
        os.kill(kept, signal.SIGBUS)
        wait_for(lambda: {worker["generation"] for worker in ready(server)} == {1})
        wait_for(lambda: len(ready(server)) == 2)
        assert server.get("/readyz")[2].decode() == f"ready\n{BEHIND}\n"
        assert server.json("/v1/status")["behind"] == BEHIND
        assert server.json("/v1/search?q=dress")["hits"]
        # What is published next is taken.
        assert pipeline.rebuild_index(served) == number + 1
        wait_for(lambda: {worker["generation"] for worker in ready(server)} == {number + 1})
        assert server.get("/readyz")[2] == b"ready\n"
        wait_for(lambda: metric(server, "worker_behind") == [0, 0])


def test_a_start_with_a_damaged_generation_serves_an_older_one(served: Workspace) -> None:
    number = pipeline.build_index(served)
    flip(served.generations / str(number) / "pin" / "learned.npy")
    with Server(served.root) as server:
        assert server.json("/v1/search?q=dress")["generation"] == 1
        assert server.get("/readyz")[2].decode() == f"ready\n{BEHIND}\n"


def test_a_start_without_a_generation_that_opens_says_what_to_do(served: Workspace) -> None:
    flip(served.generations / "1" / "pin" / "learned.npy")
    with pytest.raises(AssertionError) as error:
        Server(served.root)
    assert "learned.npy does not match its manifest" in str(error.value)
    assert "index build" in str(error.value) and "Traceback" not in str(error.value)


def test_the_watch_for_generations_outlives_content_that_nobody_expected(
    served: Workspace,
) -> None:
    """Its hashes are right, so that opening it fails with whatever a library raises."""
    bad = pipeline.build_index(served)
    folder = served.generations / str(bad)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for entity in ("pin", "product"):
        victim = folder / entity / "display.jsonl"
        victim.write_bytes(re.sub(rb"[^\n]", b"x", victim.read_bytes()))
        manifest["files"][f"{entity}/display.jsonl"] = entry_of(victim.read_bytes())
    (folder / "manifest.json").write_bytes(sealed(manifest))
    rollback(served, 1)
    with Server(served.root) as server:
        served.current.write_text(f"{bad}\n")
        wait_for(lambda: metric(server, "worker_swap_failures_total") == [1])
        assert server.json("/v1/search?q=dress")["generation"] == 1
        good = pipeline.rebuild_index(served)
        wait_for(lambda: server.json("/v1/search?q=dress")["generation"] == good)


def test_a_log_that_nobody_reads_stops_nothing(served: Workspace) -> None:
    command = [sys.executable, "-c", MAIN, "serve", "--port", "0", "--workspace", served.root]
    environment = {**os.environ, **PATIENT}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment)
    try:
        assert process.stderr is not None
        lines = (json.loads(line) for line in process.stderr)
        url = next(line["url"] for line in lines if line["event"] == "listening")
        connection = http.client.HTTPConnection(url.partition("//")[2], timeout=10)
        for _ in range(400):
            connection.request("GET", "/" + "x" * 6_000)
            assert connection.getresponse().read()
        with urllib.request.urlopen(f"{url}/healthz", timeout=10) as answer:
            assert answer.read() == b"ok\n"

        def dropped() -> int:
            with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
                text = answer.read().decode()
            name = 'omnisearch_worker_log_dropped_total{worker="0"} '
            return int(text.partition(name)[2].split()[0])

        wait_for(lambda: dropped() > 100, 10)
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        assert process.returncode == 0 and time.monotonic() - start < 5
    finally:
        process.kill()


def test_lines_are_counted_that_an_unread_log_has_lost() -> None:
    from omnisearch.service.serving.log import JsonLog

    reading, writing = os.pipe()
    log = JsonLog(writing)
    for number in range(3_000):
        log.line("request", text="x" * 1_000, number=number)
    log.flush()
    start = time.monotonic()
    log.line("last", path="\udcff")  # not UTF-8
    log.drain(0.2)
    assert time.monotonic() - start < 2 and log.dropped > 1_000
    with os.fdopen(reading, "rb") as file:
        found = []
        thread = threading.Thread(target=lambda: found.extend(map(json.loads, file)))
        thread.start()
        log.drain(20)
        os.close(writing)
        thread.join()
    told = [line["lines"] for line in found if line["event"] == "log_dropped"]
    assert len(found) - len(told) + told[-1] == 3_001


SUSPICIOUS = """
import time
from omnisearch.service.runtime import supervisor
supervisor._HUNG_SECONDS = 4
now = time.time
time.time = lambda: now() + 45  # as after a step of the clock, which the worker does not see
"""


def test_a_pause_of_all_and_a_step_of_the_clock_are_nobody_s_fault(served: Workspace) -> None:
    with Server(served.root, prepare=SUSPICIOUS) as server:
        before = server.workers()
        pids = [server.process.pid, *before]
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in pids:
                os.kill(pid, number)
            time.sleep(6 if number == signal.SIGSTOP else 1)
        assert server.workers() == before and not server.events("worker_hangs")
        assert len(ready(server)) == 1
        os.kill(before[0], signal.SIGSTOP)  # this one alone hangs
        wait_for(lambda: server.events("worker_hangs"), 20)
        wait_for(lambda: server.events("worker_ended"), 5)


def test_a_stop_is_quick_while_connections_come_and_go(served: Workspace) -> None:
    with Server(served.root) as server:
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                try:
                    server.get("/healthz")
                except OSError:
                    time.sleep(0.05)

        threads = [threading.Thread(target=ask) for _ in range(32)]
        for thread in threads:
            thread.start()
        time.sleep(2)
        start = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(30)
        took = time.monotonic() - start
        stop.set()
        for thread in threads:
            thread.join()
    assert took < 4
    assert not any("timeout" in line["message"] for line in server.events("log"))


class Crashed:
    """A process that a signal has ended."""

    pid, status = 1, -signal.SIGSEGV

    def poll(self) -> int:
        return self.status


def test_a_generation_that_crashes_its_reader_is_not_opened_again(served: Workspace) -> None:
    from omnisearch.service.config import ServiceConfig
    from omnisearch.service.runtime.supervisor import Supervisor
    from omnisearch.service.serving.log import JsonLog
    from omnisearch.service.serving.opening import open_engine

    supervisor = Supervisor(served, ServiceConfig(port=0))
    worker, counters = supervisor._workers[0], supervisor._counters
    worker.process, worker.said = Crashed(), os.open(os.devnull, os.O_RDONLY)  # type: ignore[assignment]
    counters.put("opening", 1)
    supervisor._look_after(worker)
    assert worker.avoid == {1} and worker.process is None and counters.fact("opening") == 0

    number = pipeline.build_index(served)
    engine, whole = open_engine(served, JsonLog(), counters, {number})
    assert engine.generation == 1 and not whole


def test_a_worker_that_cannot_be_started_is_tried_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from omnisearch.service.config import ServiceConfig
    from omnisearch.service.runtime.supervisor import Supervisor

    supervisor = Supervisor(workspace, ServiceConfig(port=0))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    worker = supervisor._workers[0]
    for pause in (1.0, 2.0, 4.0):
        worker.begin_at = 0.0
        supervisor._look_after(worker)
        assert worker.process is None and worker.pause == pause


@pytest.mark.parametrize("kind", ["damaged", "unreadable", "missing"])
def test_without_rankers_that_open_there_are_results(served: Workspace, kind: str) -> None:
    from omnisearch.service.serving.counters import Counters
    from omnisearch.service.serving.log import JsonLog
    from omnisearch.service.serving.opening import open_engine

    served.rankers.mkdir(exist_ok=True)
    served.current_rankers.write_bytes(
        {"damaged": b"../x", "unreadable": b"\xff\x00", "missing": b"abc"}[kind]
    )
    counters = Counters(Counters.make(1, served.root), 1)
    engine, whole = open_engine(served, JsonLog(), counters)
    assert engine.generation == 1 and not whole and engine.snapshot.rankers is None
    assert engine.search("dress").hits


def status_of_answer(client: socket.socket) -> int:
    """Status of the next answer, which is read to its end: it may come in pieces."""
    with http.client.HTTPResponse(client) as answer:
        answer.begin()
        answer.read()
        return answer.status


def test_what_arrives_while_all_is_suspended_is_answered(served: Workspace) -> None:
    """The time limits of clients pass meanwhile, and none of them could be heard."""
    limits = {f"OMNISEARCH_SERVICE_{name}_SECONDS": "1" for name in ("HEADER", "BODY", "IDLE")}
    get = b"GET /v1/search?q=dress HTTP/1.1\r\nHost: localhost\r\n"
    body = json.dumps({"queries": ["lamp"]}).encode()
    post = b"POST /v1/embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    post += b"Content-Length: %d\r\n\r\n" % len(body)
    with Server(served.root, "--workers", 1, **limits) as server:
        new, slow_head, slow_body, idle = (
            socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(4)
        )
        with new, slow_head, slow_body, idle:
            slow_head.sendall(get)
            slow_body.sendall(post + body[:5])
            idle.sendall(get + b"\r\n")
            assert status_of_answer(idle) == 200
            everyone = [server.process.pid, *server.workers()]
            for pid in everyone:
                os.kill(pid, signal.SIGSTOP)
            new.sendall(get + b"\r\n")
            slow_head.sendall(b"\r\n")
            slow_body.sendall(body[5:])
            idle.sendall(get + b"\r\n")
            time.sleep(1.5)
            for pid in everyone:
                os.kill(pid, signal.SIGCONT)
            for client in (new, slow_head, slow_body, idle):
                assert status_of_answer(client) == 200, client
            # A client that says nothing is still sent away.
            assert new.recv(100_000) == b""
