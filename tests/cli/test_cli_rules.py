"""`omnisearch rules`: check, apply, list, rollback and remove, as a user runs them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commandline import omnisearch

from omnisearch.data.workspace import Workspace

RIGHT = """version = 1

[[pin]]
name = "first"
query = "boho bedroom"
item = "product/no-such-thing"
place = 1

[[hide]]
all = true
filter = "brand=Nobody & Sons"
end = 2020-01-01T00:00:00Z
"""
WRONG = RIGHT.replace("place = 1", "place = -1").replace("all = true", "every = true")


@pytest.fixture
def shop(trained: Workspace, tmp_path: Path) -> Path:
    shutil.copytree(trained.root, tmp_path / "shop")
    return tmp_path / "shop"


def test_rules_from_file_to_search(shop: Path, tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(WRONG)
    wrong = omnisearch("rules", "check", file, "-w", shop, check=False)
    assert wrong.returncode == 2
    assert "line 7, place: It must be a whole number from 1 to 1000." in wrong.stdout
    assert "line 10, every: A rule [[hide]] has no such field." in wrong.stdout
    assert "nothing was applied" in wrong.stderr.replace("\n", " ")
    refused = omnisearch("rules", "apply", file, "-w", shop, "--json", check=False)
    faults = json.loads(refused.stdout)["data"]["faults"]
    assert refused.returncode == 2 and [fault["line"] for fault in faults] == [7, 9, 10]
    assert not (shop / "rules").exists()

    file.write_text(RIGHT)
    checked = omnisearch("rules", "check", file, "-w", shop).stdout
    assert "line 3, item: There is no product 'no-such-thing'." in checked
    assert "line 9, filter: No item meets 'brand=Nobody & Sons'." in checked
    assert "2 rules, no fault." in checked
    assert "as version 1" in omnisearch("rules", "apply", file, "-w", shop).stdout

    plain = json.loads(omnisearch("search", "boho bedroom", "-w", shop, "--json").stdout)["data"]
    last = plain["hits"][-1]
    file.write_text(RIGHT.replace("product/no-such-thing", f"{last['entity']}/{last['id']}"))
    applied = json.loads(omnisearch("rules", "apply", file, "-w", shop, "--json").stdout)["data"]
    assert applied["version"] == 2 and len(applied["missing"]) == 1
    words = ("search", "boho bedroom", "-w", shop, "--explain")
    found = json.loads(omnisearch(*words, "--json").stdout)["data"]
    assert found["hits"][0]["id"] == last["id"] and found["rules"] == ["pin “first”"]
    assert "Rules that act: pin “first”" in omnisearch(*words).stdout

    assert "Version 2" in omnisearch("rules", "list", "-w", shop).stdout
    told = json.loads(omnisearch("rules", "list", "-w", shop, "--json").stdout)["data"]
    assert [each["live"] for each in told["versions"]] == [False, True]
    assert [rule["state"][:5] for rule in told["rules"]] == ["acts", "ended"]
    assert "Version 1" in omnisearch("rules", "rollback", "-w", shop).stdout
    assert "No rules are live" in omnisearch("rules", "remove", "-w", shop).stdout
    assert "No rules are live" in omnisearch("rules", "list", "-w", shop).stdout


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    Workspace.create(tmp_path / "ws")
    done = omnisearch("rules", "check", tmp_path / "no.toml", "-w", tmp_path / "ws", check=False)
    assert done.returncode == 2 and "cannot be read" in done.stderr.replace("\n", " ")
