"""Published rules: versions, rollback, what is damaged, and engines that follow."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.engine.rules.file import read_rules
from omnisearch.engine.rules.published import (
    RETAINED,
    load_rules,
    publish_rules,
    remove_rules,
    roll_back,
    source_of,
    versions,
)
from omnisearch.engine.search import SearchEngine


def apply(workspace: Workspace, place: int) -> int:
    content = (f"version = 1\n[[pin]]\nall = true\nitem = 'product/a'\nplace = {place}\n").encode()
    return publish_rules(workspace, content, read_rules(content)[0])


def place_of(workspace: Workspace) -> int | None:
    rules = load_rules(workspace)
    return rules.rules[0].places if rules else None


def test_versions_are_kept_and_put_back(workspace: Workspace) -> None:
    assert load_rules(workspace) is None and versions(workspace) == []
    with pytest.raises(InputError, match="no earlier version"):
        roll_back(workspace)
    assert [apply(workspace, place) for place in (5, 6, 7)] == [1, 2, 3]
    assert place_of(workspace) == 7
    assert roll_back(workspace) == 2 and place_of(workspace) == 6
    assert roll_back(workspace, 3) == 3 and place_of(workspace) == 7
    with pytest.raises(InputError, match="no version 9"):
        roll_back(workspace, 9)
    assert remove_rules(workspace) and place_of(workspace) is None
    assert not remove_rules(workspace)
    assert roll_back(workspace) == 3 and place_of(workspace) == 7
    assert [each["live"] for each in versions(workspace)] == [False, False, True]
    assert b"place = 6" in source_of(workspace, 2)
    for place in range(RETAINED):
        apply(workspace, place + 1)
    numbers = [each["number"] for each in versions(workspace)]
    assert numbers == list(range(4, 4 + RETAINED))


@pytest.mark.parametrize("damage", ["rules.json", "manifest.json", "CURRENT", "folder"])
def test_damaged_rules_are_refused_and_named(workspace: Workspace, damage: str) -> None:
    apply(workspace, 1)
    apply(workspace, 2)
    folder = workspace.rules / "2"
    if damage == "folder":
        shutil.rmtree(folder)
    elif damage == "CURRENT":
        workspace.current_rules.write_text("../..")
    else:
        path = folder / damage
        path.write_bytes(path.read_bytes().replace(b"2", b"3"))
    with pytest.raises(Corrupt, match="rules"):
        load_rules(workspace)
    assert roll_back(workspace, 1) == 1 if damage != "CURRENT" else True


def test_a_right_hash_does_not_make_rules_sound(workspace: Workspace) -> None:
    from omnisearch.engine.rules.rule import Rule

    for bad in (Rule("hide", 1, item=(("pin",),)), Rule("what", 1)):  # type: ignore[arg-type]
        publish_rules(workspace, b"", [bad])
        with pytest.raises(Corrupt):
            load_rules(workspace)


def test_an_engine_follows_what_is_published(trained: Workspace, tmp_path: Path) -> None:
    shutil.copytree(trained.root, tmp_path / "copy")
    workspace = Workspace(tmp_path / "copy")
    engine = SearchEngine.open(workspace)
    last = engine.search("boho bedroom", k=50).hits[-1]
    content = (
        f"version = 1\n[[pin]]\nall = true\nplace = 1\nitem = '{last.entity}/{last.id}'\n"
    ).encode()
    publish_rules(workspace, content, read_rules(content)[0])
    assert engine.search("boho bedroom").hits[0].id != last.id
    assert engine.reload() and not engine.reload()
    assert engine.search("boho bedroom").hits[0].id == last.id
    assert engine.snapshot.rules is engine.open_next().rules  # not read again
    remove_rules(workspace)
    assert engine.reload() and engine.search("boho bedroom").hits[0].id != last.id
