"""A backup while the service takes feedback and items: nothing acknowledged before is missing."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from server_process import Server
from test_service_items import KEY, writable

from omnisearch import pipeline
from omnisearch.data.backup.backup import backup
from omnisearch.data.backup.restore import restore
from omnisearch.data.workspace import Workspace
from omnisearch.engine.sources import SOURCES


class Writing:
    """Threads that send events and items; `taken` is what was acknowledged, in order."""

    def __init__(self, server: Server) -> None:
        self._server, self._stop = server, threading.Event()
        self.events: list[str] = []
        self.items: list[str] = []
        self._threads = [threading.Thread(target=each) for each in (self._send, self._add)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            event = {"event_id": f"e{number}", "query": "lamp", "entity": "pin", "id": "p"}
            status, _, _ = self._server.post(
                "/v1/feedback", {"events": [{**event, "action": "click"}]}
            )
            assert status == 200
            self.events.append(event["event_id"])

    def _add(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            item = {"entity": "product", "id": f"i{number}", "title": f"zebralamp number{number}"}
            assert self._server.post("/v1/items", {"items": [item]}, **KEY)[0] == 200
            self.items.append(item["id"])

    def until(self, count: int) -> None:
        """Wait until so many of both were acknowledged."""
        while min(len(self.events), len(self.items)) < count:
            assert all(thread.is_alive() for thread in self._threads)
            self._stop.wait(0.02)

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_what_was_acknowledged_before_is_in_the_backup_and_served(
    served: Workspace, tmp_path: Path
) -> None:
    found = []
    with writable(served) as server:
        writing = Writing(server)
        try:
            for turn, form in enumerate(("one", "two.tar", "three.tar")):
                writing.until(10 * (turn + 1))
                before = (list(writing.events), list(writing.items))
                made = backup(served, tmp_path / form)
                assert not made.damaged and made.generation
                found.append((tmp_path / form, *before))
        finally:
            writing.end()
    for number, (path, events, items) in enumerate(found):
        again = Workspace(tmp_path / f"again{number}")
        restore(path, again.root)
        with closing(sqlite3.connect(again.feedback)) as db:
            assert set(events) <= {key for (key,) in db.execute("SELECT event_id FROM events")}
        with closing(sqlite3.connect(again.catalogue)) as db:
            sql = "SELECT id FROM products WHERE title LIKE 'zebralamp%'"
            kept = {key for (key,) in db.execute(sql)}
            assert set(items) <= kept
    pipeline.update_index(again)  # what was not published yet
    with Server(again.root) as server:
        answer = json.loads(server.get("/v1/search?q=zebralamp&system=token&k=200")[2])
        assert answer["matching"] == len(kept)
        shown = {hit["id"] for hit in answer["hits"]}
        assert shown <= kept and len(shown) == min(len(kept), SOURCES["token_products"].depth)
