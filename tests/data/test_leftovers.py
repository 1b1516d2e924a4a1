"""Temporaries of killed processes are removed by the next writer, those of live ones never."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.files import new_folder, write_atomic
from omnisearch.data.workspace.leftovers import temporary
from omnisearch.data.workspace.paths import remove_leftovers

# As the earlier versions named them, and as this one does.
LEFT = (
    ".CURRENT.a1b2c3d_",
    ".CURRENT.0123abcd.tmp",
    "exports/.4f2e.new.0123abcd.tmp",
    "exports/.4f2e.abcdefgh/query.onnx",
    "rankers/.8764e507.k2_d8s0f/l1.json",
    "rankers/.CURRENT.0123abcd.tmp",
    "checkpoints/default/.BEST.0123abcd",
    "checkpoints/default/.0aa-0000001.removed/model.safetensors",
    "item_vectors/.text-pin.partial.npy",
    "item_vectors/.text-pin-aa.ids.0123abcd",
    "graph/pinsage/.CURRENT.0123abcd",
    "rejects/.partial-abcd1234",
    "rejects/.rejects.0123abcd.tmp",
    "classifiers/.kinds.safetensors.zzzzzzzz",
    "generations/.3.0123abcd.tmp/pin/ids.jsonl",
    "signals/4f2e/.2.ksjdhf72/pin.ids",
    "judging/.first.0123abcd.tmp/pairs.jsonl",
)
KEPT = (
    *(
        ".index.lock",
        ".publish.lock",
        ".env.settings",
        "omnisearch.toml",
        "checkpoints/default/.lock",
    ),
    *("generations/3/pin/tantivy/.managed.json", "generations/3/pin/tantivy/.tantivy-meta.lock"),
    *("checkpoints/default/1/model.safetensors", "mine/.notes.template"),
)


def make(root: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def files(root: Path) -> set[str]:
    return {p.relative_to(root).as_posix() for p in root.rglob("*") if not p.is_dir()}


def test_the_leftovers_of_all_folders_are_removed(workspace: Workspace) -> None:
    make(workspace.root, (*LEFT, *KEPT))
    remove_leftovers(workspace)
    assert files(workspace.root) == set(KEPT)
    assert not [path for path in workspace.root.rglob(".*") if path.is_dir()]


def test_links_are_not_followed(workspace: Workspace, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    make(outside, (".1.0123abcd.tmp/a", ".1.0123abcd"))
    workspace.exports.symlink_to(outside)
    workspace.rankers.mkdir()
    (workspace.rankers / "x").symlink_to(outside)
    (workspace.rankers / ".1.0123abcd.tmp").symlink_to(outside / ".1.0123abcd.tmp")
    remove_leftovers(workspace)
    assert files(outside) == {".1.0123abcd.tmp/a", ".1.0123abcd"}


def test_a_live_writer_is_not_disturbed(workspace: Workspace) -> None:
    with new_folder(workspace.generation(1)) as folder, temporary(workspace.rankers / "x") as file:
        (folder / "a").write_text("a")
        file.write_text("b")
        remove_leftovers(workspace)
        assert (folder / "a").read_text() == "a" and file.read_text() == "b"
        file.rename(workspace.rankers / "x")
    assert files(workspace.root) == {"generations/1/a", "rankers/x"}


def test_a_writer_and_many_sweepers_at_once(workspace: Workspace) -> None:
    over = threading.Event()

    def sweep() -> None:
        while not over.is_set():
            remove_leftovers(workspace)

    threads = [threading.Thread(target=sweep) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(300):
            write_atomic(workspace.rankers / "CURRENT", str(number).encode())
            with new_folder(workspace.generation(number)) as folder:
                (folder / "a").write_text(str(number))
            assert (workspace.rankers / "CURRENT").read_text() == str(number)
            assert (workspace.generation(number) / "a").read_text() == str(number)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not list(workspace.root.rglob(".*"))


@pytest.mark.parametrize("name", ["a", "ü" * 127, "q" * 255])
def test_a_name_of_any_length(tmp_path: Path, name: str) -> None:
    write_atomic(tmp_path / name, b"1")
    assert [path.name for path in tmp_path.iterdir()] == [name]


KILLED = """
import os, sys
from pathlib import Path
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.files import new_folder, write_atomic
workspace = Workspace(Path(sys.argv[1]))
Path.replace = Path.rename = lambda *_: os.kill(os.getpid(), 9)
if sys.argv[2] == "file":
    write_atomic(workspace.best_checkpoint("default"), b"1")
with new_folder(workspace.export("abc")) as folder:
    (folder / "a").write_text("a")
"""


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_a_killed_process_left(workspace: Workspace, what: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(workspace.root), what])
    assert done.returncode == -9 and len(list(workspace.root.rglob(".*.tmp"))) == 1
    remove_leftovers(workspace)
    assert not list(workspace.root.rglob(".*"))
