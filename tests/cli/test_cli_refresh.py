"""`omnisearch refresh` as cron runs it: what it prints, and its exit status."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commandline import omnisearch

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.locks import locked


@pytest.fixture
def shop(trained: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(trained.root, tmp_path / "workspace")
    return Workspace(tmp_path / "workspace")


def steps(shop: Workspace) -> dict[str, str]:
    done = omnisearch("refresh", "--json", "-w", shop.root)
    found = json.loads(done.stdout)
    assert found["command"] == "refresh" and found["data"]["ended"] >= found["data"]["began"]
    return {each["step"]: each["outcome"] for each in found["data"]["steps"]}


def test_a_new_product_then_nothing(shop: Workspace, tmp_path: Path) -> None:
    (tmp_path / "products.jsonl").write_text('{"id": "new", "title": "Teal quokka figurine"}\n')
    omnisearch("import", tmp_path / "products.jsonl", "-w", shop.root)
    assert {name for name, outcome in steps(shop).items() if outcome == "done"} == {
        *("graph", "index")
    }
    found = omnisearch("search", "quokka", "--system", "token", "-w", shop.root)
    assert "Teal quokka figurine" in found.stdout
    assert set(steps(shop).values()) == {"unchanged"}
    status = json.loads(omnisearch("status", "--json", "-w", shop.root).stdout)["data"]
    assert status["last_refresh"]["ended"] and status["last_refresh"]["failed"] == []


def test_a_step_that_failed(shop: Workspace) -> None:
    shop.feedback.write_bytes(b"no database" * 1000)
    done = omnisearch("refresh", "-w", shop.root, check=False)
    assert done.returncode == 6 and "Traceback" not in done.stderr
    assert "feedback: " in done.stdout and str(shop.feedback) in done.stdout
    said = omnisearch("status", "-w", shop.root).stdout
    assert "last refresh" in said and "failed at feedback" in said


def test_another_refresh_is_running(shop: Workspace) -> None:
    with locked(shop.refresh_lock):
        done = omnisearch("refresh", "--json", "-w", shop.root, check=False)
    found = json.loads(done.stdout)["error"]
    assert done.returncode == found["exit_code"] == 5
    assert found["what"] == "Another refresh of this workspace is running."


def test_without_a_catalogue(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, status, said in (
        ("none", 3, "omnisearch import"),
        ("file", 2, "This is a file, and a workspace is a folder"),
    ):
        done = omnisearch("refresh", "-w", tmp_path / name, check=False)
        assert done.returncode == status and said in " ".join(done.stderr.split())
    assert not (tmp_path / "none").exists()


def test_a_damaged_catalogue(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "workspace")
    workspace.catalogue.write_bytes(b"no database" * 1000)
    done = omnisearch("refresh", "-w", workspace.root, check=False)
    assert done.returncode == 4 and "Put back a copy" in " ".join(done.stderr.split())


def test_the_help_has_the_exit_status_of_every_end() -> None:
    said = " ".join(omnisearch("refresh", "--help").stdout.split())
    for end in ("0 all is done", "5 another refresh", "6 a step failed", "3 nothing was imported"):
        assert end in said
