"""Feedback: durable when acknowledged, counted once, and part of the catalogue when imported."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from server_process import MAIN, Server

from omnisearch.data.workspace import Workspace


def event(number: int, item: str, **fields: Any) -> dict[str, Any]:
    base = {"event_id": f"e{number}", "query": "Boho  Lamp", "entity": "pin", "id": item}
    return base | {"action": "save", "position": 1} | fields


def a_pin(server: Server) -> str:
    found = server.json("/v1/search?q=dress&k=1&entity=pin")
    return found["hits"][0]["id"]


def import_feedback(workspace: Workspace) -> list[dict[str, Any]]:
    command = [sys.executable, "-c", MAIN, "import", "feedback", "--json"]
    done = subprocess.run([*command, "-w", workspace.root], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["data"]


def test_events_and_judgments_reach_the_catalogue_once(served: Workspace) -> None:
    with Server(served.root) as server:
        pin = a_pin(server)
        events = {"events": [event(1, pin), event(2, pin, action="click", time=1_700_000_000)]}
        assert json.loads(server.post("/v1/feedback", events)[2]) == {
            "accepted": 2,
            "duplicates": 0,
        }
        again = json.loads(server.post("/v1/feedback", events)[2])
        assert again == {"accepted": 0, "duplicates": 2}
        for grade, accepted in ((1, 1), (1, 0), (0, 1)):
            judged = {
                "query": "boho lamp",
                "entity": "pin",
                "id": pin,
                "grade": grade,
                "judge": "a",
            }
            status, _, body = server.post("/v1/judgments", {"judgments": [judged]})
            assert status == 200 and json.loads(body)["accepted"] == accepted
    reports = import_feedback(served)
    assert [(report["taken"], report["changed"]) for report in reports] == [(2, 2), (1, 1)]
    assert [report["changed"] for report in import_feedback(served)] == [0, 0]
    db = sqlite3.connect(served.catalogue)
    rows = db.execute(
        "SELECT query, item_id, action, time FROM engagements WHERE query = 'boho lamp' "
        "AND action IN ('save', 'click') AND (time = 1700000000 OR time > strftime('%s') - 600)"
    ).fetchall()
    assert ("boho lamp", pin, "click", 1_700_000_000) in rows and len(rows) == 2
    grade = db.execute("SELECT grade FROM judgments WHERE judge = 'a'").fetchall()
    assert grade == [(0.0,)]


def test_a_judgment_that_is_taken_back_leaves_the_catalogue(served: Workspace) -> None:
    db = sqlite3.connect(served.catalogue)
    count = "SELECT COUNT(*) FROM judgments WHERE judge = 'a'"
    with Server(served.root) as server:
        judged = {"query": "Boho  lamp", "entity": "pin", "id": a_pin(server), "judge": "a"}
        for grade, accepted, kept in ((None, 0, 0), (3, 1, 1), (None, 1, 0), (None, 0, 0)):
            body = {"judgments": [judged | {"grade": grade}]}
            assert json.loads(server.post("/v1/judgments", body)[2])["accepted"] == accepted
            import_feedback(served)
            assert db.execute(count).fetchone() == (kept,)
        assert server.post("/v1/judgments", {"judgments": [judged]})[0] == 422


@pytest.mark.parametrize("fields", [{"grade": True}, {"grade": "3"}, {"time": False}])
def test_what_is_no_number_is_no_grade(server: Server, fields: dict[str, Any]) -> None:
    judged = {"query": "lamp", "entity": "pin", "id": "p1", "grade": 1} | fields
    status, _, answer = server.post("/v1/judgments", {"judgments": [judged]})
    (name,) = fields
    assert status == 422 and f"0 {name}" in answer.decode()


@pytest.mark.parametrize(
    "fields",
    [
        {"action": "steal"},
        {"entity": "board"},
        {"id": ""},
        {"query": " "},
        {"query": "a\0"},
        {"time": "yesterday"},
        {"time": "2999-01-01"},
        {"time": True},
        {"position": 0},
        {"position": True},
        {"position": "3"},
        {"language": "!!"},
        {"event_id": None},
        {"event_id": "\n"},
        {"unknown": 1},
        {"count": 1000},
    ],
)
def test_one_event_that_cannot_be_taken_refuses_all_and_says_which(
    server: Server, fields: dict[str, Any]
) -> None:
    before = server.json("/v1/status")["workers"]
    body = {"events": [event(10_001, "p1"), event(10_002, "p1", **fields)]}
    status, _, answer = server.post("/v1/feedback", body)
    error = json.loads(answer)["error"]
    assert status == 422 and "1" in error["fields"][0]["where"], error
    body = {"events": [event(10_001, "p1")]}
    assert json.loads(server.post("/v1/feedback", body)[2])["accepted"] in (0, 1)
    assert [worker["pid"] for worker in before] == server.workers()


def test_what_was_acknowledged_before_a_kill_is_in_the_log(served: Workspace) -> None:
    acknowledged: list[int] = []
    with Server(served.root) as server:
        stop = threading.Event()

        def send(start: int) -> None:
            number = start
            while not stop.is_set():
                body = {"events": [event(number + i, "p1") for i in range(3)]}
                try:
                    status, _, _ = server.post("/v1/feedback", body)
                except OSError:  # the worker was killed under this request
                    continue
                if status == 200:
                    acknowledged.extend(range(number, number + 3))
                    number += 3

        threads = [threading.Thread(target=send, args=(s,)) for s in range(0, 400_000, 100_000)]
        pid = server.workers()[0]
        for thread in threads:
            thread.start()
        for _ in range(2):
            time.sleep(1.0)
            os.kill(pid, signal.SIGKILL)
            pid = wait_for_another(server, pid)
        time.sleep(0.5)
        stop.set()
        for thread in threads:
            thread.join()
    db = sqlite3.connect(served.feedback)
    kept = {key for (key,) in db.execute("SELECT event_id FROM events")}
    assert len(acknowledged) > 100
    assert {f"e{number}" for number in acknowledged} <= kept


def wait_for_another(server: Server, pid: int) -> int:
    """The process id of the worker that takes the place of a killed one."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            found = server.workers()
            if pid not in found:
                return found[0]
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("no worker was started in its place")


def test_a_damaged_log_is_said_and_searches_go_on(served: Workspace) -> None:
    served.feedback.write_bytes(b"not a database" * 1000)
    with Server(served.root) as server:
        status, headers, _ = server.post("/v1/feedback", {"events": [event(1, "p1")]})
        assert status == 503 and headers["retry-after"]
        assert server.get("/v1/search?q=dress")[0] == 200
        assert server.events("feedback_not_written")
