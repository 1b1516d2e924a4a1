"""The paths of a workspace are those of docs/reference/workspace.md."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.paths import check_name

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/workspace.md"


def members() -> dict[str, str]:
    """Property or method → its path, with the parameters' names in angle brackets."""
    workspace = Workspace(Path())
    found = {}
    for name, member in vars(Workspace).items():
        if isinstance(member, property):
            found[name] = getattr(workspace, name).as_posix()
        elif inspect.isfunction(member) and not name.startswith("_"):
            parameters = [f"<{parameter}>" for parameter in inspect.signature(member).parameters]
            found[name] = member(workspace, *parameters[1:]).as_posix()
    return found


def test_the_page_has_every_path_and_every_path_is_a_property() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(row.rstrip("/") for row in rows) == sorted(members().values())


def test_every_path_says_what_it_is_in_one_line() -> None:
    for name in members():
        doc = getattr(Workspace, name).__doc__
        assert doc and doc.endswith(".") and "\n" not in doc, name


def test_no_other_file_makes_up_a_path_in_a_workspace() -> None:
    root = PAGE.parents[2]
    rooms = [path for path in (root / "src/omnisearch").iterdir() if path.is_dir()]
    files = [path for room in rooms for path in room.resolve().rglob("*.py")]
    assert len(files) > 100
    made_up = re.compile(r"""\.root / ["'f]|(workspace|space|copy|base|source)\.root / """)
    found = [path for path in files if made_up.search(path.read_text("utf-8"))]
    assert found == [root / "data/workspace/paths.py"]


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", ".hidden"])
def test_names_cannot_leave_the_workspace(name: str) -> None:
    with pytest.raises(InputError, match="not a valid name for a checkpoint"):
        check_name(name, "checkpoint")
