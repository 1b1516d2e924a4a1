"""Items that are written while the service runs: durable, found in every worker, gone again."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from server_process import Server
from test_service_workers import wait_for

from omnisearch.data.workspace import Workspace

READ, WRITE = "only-reads", "also-writes"
KEY = {"Authorization": f"Bearer {WRITE}"}
SECONDS = 60.0  # a machine may be busy; benchmarks/live_items.py measures it


def key_file(folder: Path, *keys: str) -> Path:
    path = folder / f"{'-'.join(keys)}.keys"
    path.write_text("".join(hashlib.sha256(key.encode()).hexdigest() + "\n" for key in keys))
    return path


def writable(workspace: Workspace, *options: object) -> Server:
    folder = workspace.root.parent
    return Server(workspace.root, "--write-keys", key_file(folder, WRITE), *options)


def write(server: Server, *items: dict[str, Any]) -> dict[str, Any]:
    status, _, body = server.post("/v1/items", {"items": list(items)}, **KEY)
    assert status == 200, body
    return json.loads(body)


def delete(server: Server, entity: str, key: str) -> dict[str, Any]:
    status, _, body = server.delete(f"/v1/items/{entity}/{urllib.parse.quote(key)}", **KEY)
    assert status == 200, body
    return json.loads(body)


def shown(server: Server, query: str, entity: str, key: str) -> list[dict[str, Any] | None]:
    """The item as each worker shows it; every connection may be another's."""
    found: dict[int, dict[str, Any] | None] = {}
    wanted = len(server.workers())
    for _ in range(200):
        answer = server.json(f"/v1/search?q={urllib.parse.quote(query)}&k=100&entity={entity}")
        hits = [hit for hit in answer["hits"] if hit["id"] == key]
        found[int(answer["request_id"].partition("-")[0], 16)] = hits[0] if hits else None
        if len(found) == wanted:
            break
    return list(found.values())


@pytest.fixture(scope="module")
def live(trained: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service whose items several tests change, each its own."""
    import shutil

    folder = tmp_path_factory.mktemp("items") / "workspace"
    shutil.copytree(trained.root, folder)
    with writable(Workspace(folder), "--workers", 2) as running:
        running.folder = folder  # type: ignore[attr-defined]
        yield running


def product(key: str, **fields: Any) -> dict[str, Any]:
    return {"entity": "product", "id": key} | fields


def test_an_item_is_found_changed_and_gone_in_every_worker(live: Server) -> None:
    title = "zyxophone quilted marmalade"
    item = product("new/1", title=title, price=12.5, currency="eur")
    assert write(live, item) == {"taken": 1, "changed": 1, "refused": 0, "fields": []}
    wait_for(lambda: all(shown(live, title, "product", "new/1")), SECONDS)
    assert write(live, item)["changed"] == 0  # sent again
    assert write(live, product("new/1", price=11))["changed"] == 1
    wait_for(
        lambda: (
            [hit and hit["price"] for hit in shown(live, title, "product", "new/1")] == [11.0, 11.0]
        ),
        SECONDS,
    )
    hits = shown(live, title, "product", "new/1")
    assert [(hit["title"], hit["currency"]) for hit in hits if hit] == [(title, "EUR")] * 2
    assert write(live, product("new/1", price=None))["changed"] == 1
    wait_for(
        lambda: (
            [hit and hit["price"] for hit in shown(live, title, "product", "new/1")] == [None, None]
        ),
        SECONDS,
    )
    assert delete(live, "product", "new/1")["changed"] == 1
    wait_for(lambda: not any(shown(live, title, "product", "new/1")), SECONDS)
    assert delete(live, "product", "new/1")["changed"] == 0


def test_a_bad_row_loses_no_good_ones_and_each_wrong_field_is_named(live: Server) -> None:
    answer = write(
        live,
        product("good", title="a good one", price="3.50"),
        product("bad", price="cheap", currency="EURO", created_at="soon", title="x"),
        product("link", title="y", link="javascript:alert(1)", colour="red", **{"??": 1}),
        product("good", title="another"),
        {"entity": "board", "id": "b"},
        {"entity": "pin"},
        ["no object"],  # type: ignore[arg-type]
    )
    assert (answer["taken"], answer["changed"], answer["refused"]) == (2, 2, 5)
    assert {(fault["where"], fault["what"]) for fault in answer["fields"]} == {
        ("items 1 price", "is not a number"),
        ("items 1 currency", "is not the ISO 4217 code of a currency, such as EUR"),
        ("items 1 created_at", "is neither ISO 8601 nor seconds"),
        ("items 2 link", "is not an http or https address, and was left out"),
        ("items 2 ??", "is no name of an attribute, and was left out"),
        ("items 3 id", "appears earlier in this request with other values"),
        ("items 4 entity", "is not one of pin, product"),
        ("items 5 id", "is missing"),
        ("items 6", "is not an object"),
    }
    with closing(sqlite3.connect(live.folder / "catalogue.db")) as db:  # type: ignore[attr-defined]
        rows = db.execute(
            "SELECT id, title, price, link, attributes FROM products "
            "WHERE id IN ('good', 'bad', 'link')"
        )
        assert sorted(rows) == [
            ("good", "a good one", 3.5, None, None),
            ("link", "y", None, None, '{"colour":"red"}'),
        ]


@pytest.mark.parametrize(
    ("body", "status", "where"),
    [
        (b"{", 400, "body"),
        ({"items": []}, 422, "body"),
        ([], 422, "body"),
        ({"items": [{"entity": "pin", "id": ""}]}, 422, "items 0 id"),
        (
            {"items": [{"entity": "pin", "id": "a", "created_at": "soon"}] * 2},
            422,
            "items 0 created_at",
        ),
        ({"items": [{"entity": "pin", "id": str(i)} for i in range(1001)]}, 413, ""),
    ],
)
def test_what_cannot_be_taken_is_refused(live: Server, body: Any, status: int, where: str) -> None:
    found, _, content = live.post("/v1/items", body, **KEY)
    assert (found, json.loads(content)["error"]["where"]) == (status, where)


def test_an_entity_that_is_no_item_cannot_be_deleted(live: Server) -> None:
    assert live.delete("/v1/items/query/lamp", **KEY)[0] == 422
    assert live.delete("/v1/items/pin/%07", **KEY)[0] == 422


def test_only_keys_that_may_write_change_items(served: Workspace) -> None:
    folder = served.root.parent
    keys = ("--api-keys", key_file(folder, READ), "--write-keys", key_file(folder, WRITE))
    body = {"items": [product("a", title="b")]}
    with Server(served.root, *keys) as server:
        for key, status in ((None, 401), ("wrong", 401), (READ, 403), (WRITE, 200)):
            header = {} if key is None else {"X-Api-Key": key}
            assert server.post("/v1/items", body, **header)[0] == status
            assert server.delete("/v1/items/product/a", **header)[0] == status
        cookie = {"Cookie": f"omnisearch_key={WRITE}"}
        assert server.post("/v1/items", body, **cookie)[0] == 401
        assert server.get("/v1/search?q=dress", **cookie)[0] == 200
        assert server.get("/v1/search?q=dress")[0] == 401


def test_without_keys_that_may_write_nobody_may(server: Server) -> None:
    status, _, body = server.post("/v1/items", {"items": [product("a", title="b")]})
    assert status == 403 and "--write-keys" in json.loads(body)["error"]["how"]
    assert server.delete("/v1/items/product/a")[0] == 403
    assert server.json("/v1/status")["updates"] is None


def test_a_catalogue_that_an_import_holds_is_said_within_seconds(live: Server) -> None:
    with closing(sqlite3.connect(live.folder / "catalogue.db", isolation_level=None)) as other:  # type: ignore[attr-defined]
        other.execute("BEGIN IMMEDIATE")
        start = time.monotonic()
        status, headers, body = live.post("/v1/items", {"items": [product("c", title="d")]}, **KEY)
        assert time.monotonic() - start < 6
        assert status == 503 and headers["retry-after"]
        assert "import" in json.loads(body)["error"]["what"]
        assert live.get("/v1/search?q=dress")[0] == 200
        other.execute("ROLLBACK")
    assert write(live, product("c", title="d"))["changed"] == 1


def test_its_delay_is_told(live: Server) -> None:
    write(live, product("told", title="telltale"))
    wait_for(lambda: live.json("/v1/status")["updates"]["waiting_seconds"] == 0, SECONDS)
    updates = live.json("/v1/status")["updates"]
    assert updates["pid"] and updates["publications"] and 0 < updates["last_seconds"] < SECONDS
    metrics = live.get("/metrics")[2].decode()
    assert "\nomnisearch_updates_waiting_seconds " in metrics
