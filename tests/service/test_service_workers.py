"""Generations change under load, workers are killed and replaced, and a stop is graceful."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from typing import Any

import pytest
from server_process import Server

from omnisearch import pipeline
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.indexer.verify import rollback


class Load:
    """Threads that search without end; `answers` counts (status, generation)."""

    def __init__(self, server: Server, threads: int = 4) -> None:
        self.server, self.stop = server, threading.Event()
        self.answers: Counter[Any] = Counter()
        self.wrong: list[Any] = []
        self.expected: dict[Any, Any] = {}
        self.threads = [threading.Thread(target=self._run, args=(i,)) for i in range(threads)]
        for thread in self.threads:
            thread.start()

    def _run(self, seed: int) -> None:
        queries = ("boho+lamp", "rug", "kitchen+sink")
        turn = seed
        while not self.stop.is_set():
            query, turn = queries[turn % 3], turn + 1
            try:
                found = self.server.json(f"/v1/search?q={query}&k=5")
            except OSError:
                self.answers["broken"] += 1
                continue
            except AssertionError as error:
                self.wrong.append(str(error))
                continue
            self.answers[found["generation"]] += 1
            shown = [(hit["entity"], hit["id"], round(hit["score"], 4)) for hit in found["hits"]]
            # Within a generation a query has one answer.
            before = self.expected.setdefault((found["generation"], query), shown)
            if before != shown or found["degraded"]:
                self.wrong.append((before, found))

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()


def wait_for(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


@pytest.mark.slow
def test_generations_change_under_load_without_a_failed_request(served: Workspace) -> None:
    with Server(served.root, "--workers", 2) as server:
        load = Load(server)
        try:
            for number in (2, 3):
                assert pipeline.rebuild_index(served) == number
                wait_for(lambda n=number: load.answers[n] > 20)
            rollback(served, 2)
            before = load.answers[2]
            wait_for(lambda: load.answers[2] > before + 20)
        finally:
            load.end()
        assert not load.wrong and not load.answers["broken"]
        wait_for(lambda: {w["generation"] for w in server.json("/v1/status")["workers"]} == {2})


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_only_its_connections_break(served: Workspace) -> None:
    with Server(served.root, "--workers", 2) as server:
        load = Load(server)
        try:
            for _ in range(2):
                wait_for(lambda: load.answers[1] > 20)
                before = server.workers()
                os.kill(before[0], signal.SIGKILL)
                wait_for(lambda: server.events("worker_ended"))
                wait_for(lambda b=before: b[0] not in _ready(server))
                wait_for(lambda: len(_ready(server)) == 2)
        finally:
            load.end()
        assert not load.wrong and load.answers["broken"] <= 2 * len(load.threads)
        requests = server.json("/v1/status")["requests"]["search"]["200"]
        assert requests >= load.answers[1] - 4  # what the dead one counted is kept


def _ready(server: Server) -> list[int]:
    workers = server.json("/v1/status")["workers"]
    return [worker["pid"] for worker in workers if worker["ready"]]


def test_a_damaged_generation_is_refused_and_the_old_one_serves_on(served: Workspace) -> None:
    number = pipeline.build_index(served)
    folder = served.generations / str(number)
    victim = next(path for path in folder.rglob("*") if path.name == "ids.jsonl")
    content = victim.read_bytes()
    rollback(served, 1)
    with Server(served.root) as server:
        victim.write_bytes(content[:-10])
        served.current.write_text(f"{number}\n")
        wait_for(lambda: server.events("generation_refused"))
        assert server.json("/v1/search?q=dress")["generation"] == 1
        assert server.json("/v1/status")["workers"][0]["swap_failures"] == 1


def test_a_stop_finishes_what_is_under_way(served: Workspace) -> None:
    with Server(served.root) as server:
        answers: list[int] = []
        queries = "\n".join(f"query number {i}" for i in range(3000)).encode()

        def ask() -> None:
            answers.append(server.post("/v1/embed", queries, **{"Content-Type": "text/plain"})[0])

        thread = threading.Thread(target=ask)
        thread.start()
        time.sleep(0.15)
        assert server.stop() == 0
        thread.join()
        assert answers == [200]
        assert server.events("stopped") and not server.events("fault")


def test_workers_end_with_their_supervisor(served: Workspace) -> None:
    server = Server(served.root)
    worker = server.workers()[0]
    server.process.kill()
    server.process.wait()
    wait_for(lambda: not _runs(worker))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - a child of init may stay a zombie
        return file.read().rpartition(")")[2].split()[0] != "Z"


def test_a_workspace_that_is_not_ready_is_said_at_once(workspace: Workspace) -> None:
    open_catalogue(workspace.catalogue, create=True).conn.close()
    with pytest.raises(AssertionError) as error:
        Server(workspace.root)
    assert "index build" in str(error.value)
