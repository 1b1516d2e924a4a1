"""kill -9 while items are written: what was acknowledged is there, and nothing is half there."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
import time
from contextlib import closing, suppress
from typing import Any

import pytest
from server_process import Server
from test_service_items import KEY, product, shown, writable, write
from test_service_workers import wait_for

from omnisearch.data.workspace import Workspace

WORD = "quagswag"


class Writers:
    """Threads that write items, each its own, again and again; `kept` has what was acknowledged.

    The title and the price of an item name the same number.
    """

    def __init__(self, server: Server, threads: int = 4, items: int = 5) -> None:
        self.server, self.stop = server, threading.Event()
        self.kept: dict[str, int] = {}
        self.tried: dict[str, int] = {}
        self.acknowledged = self.refused = 0
        self._threads = [
            threading.Thread(target=self._run, args=(f"k{number}-", items))
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, prefix: str, items: int) -> None:
        number = 0
        while not self.stop.is_set():
            number += 1
            key = f"{prefix}{number % items}"
            row = product(key, title=f"{WORD} x{number}x", price=number)
            self.tried[key] = number
            try:
                status = self.server.post("/v1/items", {"items": [row]}, **KEY)[0]
            except OSError:
                time.sleep(0.05)
                continue
            if status == 200:
                self.kept[key] = number
                self.acknowledged += 1
            else:
                self.refused += 1
                assert status == 503, status
                time.sleep(0.05)

    def end(self) -> None:
        self.stop.set()
        for thread in self._threads:
            thread.join()


def updater(server: Server) -> Any:
    with suppress(OSError, AssertionError):
        return server.json("/v1/status")["updates"]["pid"]
    return None


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def check(workspace: Workspace, writers: Writers) -> None:
    with closing(sqlite3.connect(workspace.catalogue)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = {
            key: (title, price)
            for key, title, price in db.execute(
                "SELECT id, title, price FROM products WHERE title LIKE ?", [f"{WORD}%"]
            )
        }
    for key, number in writers.kept.items():
        title, price = rows[key]
        assert title == f"{WORD} x{int(price)}x"  # never half a row
        # A write that got no answer may have been committed after the last that got one.
        assert number <= price <= writers.tried[key]


@pytest.mark.slow
def test_no_acknowledged_item_is_lost_whoever_is_killed(served: Workspace) -> None:
    chance = random.Random(15)
    for _ in range(2):
        with writable(served, "--workers", 2) as server:
            wait_for(lambda s=server: updater(s))
            writers = Writers(server)
            for victim in ("worker", "updater", "worker", "updater", "supervisor"):
                before = writers.acknowledged
                wait_for(lambda b=before, w=writers: w.acknowledged > b + 20)
                time.sleep(chance.random())
                if victim == "worker":
                    with suppress(OSError, AssertionError):
                        kill(chance.choice(server.workers()))
                elif victim == "updater":
                    old = updater(server)
                    if old:
                        kill(old)
                        wait_for(lambda o=old, s=server: updater(s) not in (None, o))
                else:
                    server.process.kill()
            time.sleep(0.5)
            writers.end()
        check(served, writers)
        with writable(served) as server:
            for key in writers.kept:
                wait_for(lambda k=key, s=server: all(shown(s, WORD, "product", k)))


def test_a_killed_updater_goes_on_from_the_catalogue(served: Workspace) -> None:
    with writable(served) as server:
        wait_for(lambda: updater(server))
        os.kill(updater(server), signal.SIGSTOP)
        stopped = updater(server)
        write(server, product("late", title=f"{WORD} late"))
        kill(stopped)
        wait_for(lambda: all(shown(server, WORD, "product", "late")))
        assert server.json("/v1/status")["updates"]["restarts"] == 1


@pytest.mark.slow
def test_what_was_not_published_is_after_a_restart(served: Workspace) -> None:
    with writable(served) as server:
        wait_for(lambda: updater(server))
        os.kill(updater(server), signal.SIGSTOP)
        write(server, product("later", title=f"{WORD} later"))
        kill(updater(server))
        server.process.kill()
    with writable(served) as server:
        wait_for(lambda: all(shown(server, WORD, "product", "later")))
