"""feedback.db is moved, deleted, replaced under a service: what it accepts is at the path."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from server_process import Server
from test_service_feedback import event

from omnisearch.data.workspace import Workspace
from omnisearch.service.serving.feedback_file import FeedbackFile


def kept(path: Path) -> set[str]:
    """The events of a log, read as another process does."""
    db = sqlite3.connect(path)
    try:
        return {key for (key,) in db.execute("SELECT event_id FROM events")}
    finally:
        db.close()


def move(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


def replace(path: Path) -> None:
    """By an older copy, as a backup that is put back."""
    path.with_name("copy.db").replace(path)


def delete_all(path: Path) -> None:
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


def delete_the_log(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


DEEDS = [move, Path.unlink, replace, delete_all, delete_the_log]


def test_what_is_acknowledged_is_in_the_file_at_the_path(served: Workspace) -> None:
    path = served.feedback
    with Server(served.root) as server:

        def send(number: int) -> None:
            assert server.post("/v1/feedback", {"events": [event(number, "p1")]})[0] == 200

        for number, deed in enumerate(DEEDS):
            send(3 * number)
            shutil.copy(path, path.with_name("copy.db"))
            deed(path)
            send(3 * number + 1)
            send(3 * number + 2)
            assert {f"e{3 * number + 1}", f"e{3 * number + 2}"} <= kept(path), deed
            if deed is move:
                assert "e0" in kept(path.with_name("moved.db"))
            if deed is delete_the_log:  # the file itself has kept its name
                assert f"e{3 * number}" in kept(path)
    assert {"e13", "e14"} <= kept(path)


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_while_the_file_is_moved_under_load(
    served: Workspace,
) -> None:
    acknowledged: list[str] = []
    stop = threading.Event()
    with Server(served.root, "--workers", 2) as server:

        def run(start: int) -> None:
            number = start
            while not stop.is_set():
                number += 1
                if server.post("/v1/feedback", {"events": [event(number, "p1")]})[0] == 200:
                    acknowledged.append(f"e{number}")

        threads = [threading.Thread(target=run, args=(n * 100_000,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for turn in range(10):
            time.sleep(0.3)
            if turn % 3:
                served.feedback.rename(served.root / f"moved{turn}.db")
            else:
                (served.root / "another.db").touch()
                served.feedback.rename(served.root / f"moved{turn}.db")
                (served.root / "another.db").rename(served.feedback)
        time.sleep(0.5)
        stop.set()
        for thread in threads:
            thread.join()
    files = [served.feedback, *served.root.glob("moved*.db")]
    found = set().union(*map(kept, files))
    assert len(acknowledged) > 100
    assert set(acknowledged) <= found
    for path in files:
        db = sqlite3.connect(path)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_file_that_is_swapped_during_a_commit_is_noticed(tmp_path: Path) -> None:
    file = FeedbackFile(tmp_path / "feedback.db")
    first = file.connection()
    assert file.in_place() and file.connection() is first
    move(tmp_path / "feedback.db")
    assert not file.in_place()
    assert file.connection() is not first and file.in_place()
    file.close()


def test_a_writer_survives_whatever_a_commit_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    from omnisearch.service.errors import Refusal
    from omnisearch.service.serving import commits, feedback
    from omnisearch.service.serving.log import JsonLog

    def fail(*_: object) -> Callable[[], None]:
        raise RuntimeError("unexpected")

    async def both() -> None:
        log = feedback.FeedbackLog(tmp_path / "feedback.db", JsonLog())
        with monkeypatch.context() as patched:
            patched.setattr(feedback, "add_events", fail)
            with pytest.raises(Refusal):
                await asyncio.wait_for(log.add("events", [("a", b"{}")]), 5)
        assert await asyncio.wait_for(log.add("events", [("a", b"{}")]), 5) == (1, 0)
        # A disk that hangs holds neither a request nor the end for ever.
        monkeypatch.setattr(feedback, "_COMMIT_SECONDS", 0.1)
        monkeypatch.setattr(commits, "_END_SECONDS", 0.1)
        monkeypatch.setattr(feedback, "add_events", lambda *_: time.sleep(3))
        with pytest.raises(Refusal):
            await asyncio.wait_for(log.add("events", [("b", b"{}")]), 2)
        start = time.monotonic()
        await asyncio.to_thread(log.close)
        assert time.monotonic() - start < 2

    asyncio.run(both())
