"""`omnisearch status`, as a user reads it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from omnisearch.cli.main import app
from omnisearch.data.catalogue.schema import open_catalogue, set_meta
from omnisearch.data.workspace import Workspace

DAY = 86_400
BEGAN = int(datetime(2025, 3, 1, tzinfo=UTC).timestamp())


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A hundred days of a log over two products."""
    workspace = Workspace.create(tmp_path / "shop")
    db = open_catalogue(workspace.catalogue, create=True)
    with db.conn:
        db["products"].insert_all([{"id": "a", "title": "Oak"}, {"id": "b", "title": "Elm"}])
        db.conn.executemany(
            "INSERT INTO engagements (time, query, entity, item_id, action, count) "
            "VALUES (?, ?, 'product', 'a', 'save', 1)",
            [(BEGAN + number * DAY, f"oak {number}") for number in range(100)],
        )
        set_meta(db, "engaged_until", BEGAN + 30 * DAY)
    db.conn.close()
    return workspace.root


def shown(*words: object) -> str:
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    return done.stdout


def test_times_are_dates_and_the_next_command_is_named(shop: Path) -> None:
    text = shown("status", "-w", shop)
    cells = {
        row[1].strip(): row[2].strip()
        for row in (line.split("│") for line in text.splitlines())
        if len(row) == 4
    }
    assert cells["items"] == "2 products"
    assert cells["log"] == "100 events, 2025-03-01 to 2025-06-08"
    assert cells["encoders learn"] == "events before 2025-05-17"
    assert cells["evaluation"] == "2025-06-01 to 2025-06-08"
    assert cells["enriched with"] == "events before 2025-03-31"
    assert cells["index"] == "none yet"
    assert "pins" not in text and "boards" not in text  # what the shop does not have
    assert text.splitlines()[-1] == "Next: run `omnisearch index build`."
    assert str(BEGAN)[:5] not in text.replace(",", "")  # no epoch number


def test_what_is_stale_is_told_with_its_command(shop: Path) -> None:
    shown("enrich", "queries", "-w", shop)
    db = open_catalogue(Workspace(shop).catalogue)
    with db.conn:
        db.conn.execute("DELETE FROM engagements WHERE time < ?", [BEGAN + DAY])
    db.conn.close()
    told = "Stale engaged queries of items: of another log; run `omnisearch enrich queries`."
    assert told in shown("status", "-w", shop).splitlines()


def test_programs_get_the_days_of_the_log_too(shop: Path) -> None:
    log = json.loads(shown("status", "-w", shop, "--json"))["data"]["log"]
    assert log["first"] == BEGAN and log["last"] == BEGAN + 99 * DAY
    assert log["last"] - log["eval_from"] == 7 * DAY - 1


def test_a_workspace_without_a_log(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "shop")
    open_catalogue(workspace.catalogue, create=True).conn.close()
    text = shown("status", "-w", tmp_path / "shop")
    assert "searches are ordered without what people did" in text
    assert "Next: run `omnisearch import FILES`." in text
