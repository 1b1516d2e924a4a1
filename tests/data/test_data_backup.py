"""Backups: what is restored is what was there, and nothing half is ever left."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from omnisearch import SearchEngine
from omnisearch.data.backup import staging
from omnisearch.data.backup.backup import backup
from omnisearch.data.backup.restore import restore
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import write_pointer
from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.data.workspace.files import remove_folder, write_atomic

MAIN = "from omnisearch.cli.main import main; main()"
FORMS = ("backup", "backup.tar")
NO_PART = (".lock", "query_cache.db", "-wal", "-shm")


@pytest.fixture
def small(tmp_path: Path) -> Workspace:
    """A workspace without an index: databases, a pointer and its artefact, and settings."""
    space = Workspace.create(tmp_path / "small")
    with closing(sqlite3.connect(space.catalogue)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE item_vectors (name, entity, file, sha256)")
        db.execute("CREATE TABLE pins (id INTEGER PRIMARY KEY, title TEXT)")
        db.executemany("INSERT INTO pins VALUES (?, ?)", [(i, "x" * 200) for i in range(2000)])
        db.commit()
    (space.rankers / "a").mkdir(parents=True)
    for place in range(20):
        (space.rankers / "a" / f"{place}.json").write_bytes(os.urandom(200_000))
    write_pointer(space.current_rankers, "a")
    space.settings.write_text("[service]\nport = 8000\n")
    return space


def files(folder: Path) -> dict[str, bytes]:
    """Every file that is no database and no lock."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith((*NO_PART, ".db"))
    }


def rows(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return list(db.iterdump())


@pytest.mark.parametrize("form", FORMS)
def test_a_restored_workspace_answers_as_the_one_it_is_of(
    trained: Workspace, tmp_path: Path, form: str
) -> None:
    shutil.copytree(trained.root, tmp_path / "workspace")
    space, again = Workspace(tmp_path / "workspace"), Workspace(tmp_path / "elsewhere" / "again")
    made = backup(space, tmp_path / "backups" / form)
    assert made.generation == 1 and not made.damaged and not made.left_out
    manifest = restore(tmp_path / "backups" / form, again.root)
    assert len(manifest["files"]) == made.files
    assert files(again.root) == files(space.root)
    assert rows(again.catalogue) == rows(space.catalogue)
    engines = [SearchEngine.open(each) for each in (space, again)]
    for query in ("dress", "blue dress", "sofa"):
        one, other = (
            [(hit.entity, hit.id, hit.score) for hit in engine.search(query).hits]
            for engine in engines
        )
        assert one and one == other
    for engine in engines:
        engine.close()
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("form", FORMS)
def test_what_is_damaged_is_not_restored(small: Workspace, tmp_path: Path, form: str) -> None:
    backup(small, tmp_path / form)
    shutil.copytree(small.root, tmp_path / "live")
    before = files(tmp_path / "live")
    for damage in _damages(tmp_path / form):
        copy = tmp_path / f"damaged{Path(form).suffix}"
        if copy.is_dir():
            shutil.rmtree(copy)
        (shutil.copytree if (tmp_path / form).is_dir() else shutil.copyfile)(tmp_path / form, copy)
        damage(copy)
        with pytest.raises((Corrupt, InputError)) as refused:
            restore(copy, tmp_path / "live", force=True)
        assert refused.value.where == str(copy) and refused.value.how
        assert files(tmp_path / "live") == before
    assert not list(tmp_path.rglob("*.tmp")) and not (tmp_path / "escaped").exists()


def _damages(form: Path) -> Iterator[Callable[[Path], object]]:
    if form.is_dir():
        yield lambda folder: (folder / "rankers/a/3.json").unlink()
        yield lambda folder: (folder / "rankers/a/3.json").write_bytes(b"other")
        yield lambda folder: (folder / "more").touch()
        yield lambda folder: (folder / "link").symlink_to("/etc/passwd")
        yield lambda folder: (folder / "backup.json").unlink()
        for content in (b"", b"{}", b'{"format":99,"made":"","files":{}}', b'{"files":[]}'):
            yield lambda folder, content=content: (folder / "backup.json").write_bytes(content)
        return
    size = form.stat().st_size
    for place in (600, size // 2, size - 20_000):

        def flip(file: Path, place: int = place) -> None:
            content = bytearray(file.read_bytes())
            content[place] ^= 1
            file.write_bytes(content)

        yield flip
    for length in (0, 100, 512, size // 2, size // 2 // 512 * 512):
        yield lambda file, length=length: os.truncate(file, length)
    for name in ("../escaped", "/escaped", "omnisearch.toml", "link"):

        def add(file: Path, name: str = name) -> None:
            with tarfile.open(file, "a") as tar:
                entry = tarfile.TarInfo(name)
                entry.size = 1 if name != "link" else 0
                entry.type, entry.linkname = (
                    (tarfile.SYMTYPE, "/etc/passwd") if name == "link" else (tarfile.REGTYPE, "")
                )
                tar.addfile(entry, io.BytesIO(b"x"))

        yield add


def test_nothing_is_overwritten_unless_asked_to(small: Workspace, tmp_path: Path) -> None:
    backup(small, tmp_path / "one")
    with pytest.raises(InputError, match="something at this place"):
        backup(small, tmp_path / "one")
    with pytest.raises(InputError, match="cannot lie in the workspace"):
        backup(small, small.root / "backups" / "one.tar")
    other = Workspace.create(tmp_path / "other")
    (other.root / "mine").touch()
    with pytest.raises(InputError, match="not empty"):
        restore(tmp_path / "one", other.root)
    with pytest.raises(InputError, match="no such backup"):
        restore(tmp_path / "none", tmp_path / "new")
    with pytest.raises(InputError, match="no backup at this place"):
        restore(other.root, tmp_path / "new")
    restore(tmp_path / "one", other.root, force=True)
    assert files(other.root) == files(small.root)
    (tmp_path / "empty").mkdir()
    restore(tmp_path / "one", tmp_path / "empty")
    assert rows(tmp_path / "empty" / "catalogue.db") == rows(small.catalogue)


def test_what_is_damaged_already_and_what_is_left_out_is_told(
    trained: Workspace, tmp_path: Path
) -> None:
    shutil.copytree(trained.root, tmp_path / "workspace")
    space = Workspace(tmp_path / "workspace")
    name = next(path.name for path in space.item_vectors.glob("*.npy"))
    with (space.item_vectors / name).open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"abcd")
    (space.root / "pictures").symlink_to(tmp_path)
    write_atomic(space.generation(1) / "pin" / "ids.jsonl", b"")
    made = backup(space, tmp_path / "backup")
    assert made.left_out == ["pictures"]
    assert made.damaged == [
        "generations/1/pin/ids.jsonl does not match its manifest.",
        f"item_vectors/{name} does not match its manifest.",
    ]


def test_a_backup_while_folders_are_published_and_removed(small: Workspace, tmp_path: Path) -> None:
    """Whatever it catches, each pointer in it names a whole folder."""
    stop, names = threading.Event(), [f"r{n}" for n in range(10_000)]

    def publish() -> None:
        before = "a"
        for name in names:
            shutil.copytree(small.rankers / before, small.rankers / f".{name}.tmp")
            (small.rankers / f".{name}.tmp").rename(small.rankers / name)
            write_pointer(small.current_rankers, name)
            remove_folder(small.rankers / before)
            before = name
            if stop.wait(0.02):
                return

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        for turn in range(8):
            backup(small, tmp_path / f"backup{turn}")
            kept = Workspace(tmp_path / f"backup{turn}")
            assert (
                len(list((kept.rankers / kept.current_rankers.read_text().strip()).iterdir())) == 20
            )
    finally:
        stop.set()
        thread.join()


def test_a_commit_after_the_links_is_in_the_backup_and_one_under_way_is_not(
    small: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = staging._snapshot
    writing = sqlite3.connect(small.catalogue, isolation_level=None)

    def after_a_commit(path: Path) -> sqlite3.Connection:
        writing.execute("INSERT INTO pins VALUES (10000, 'committed')")
        writing.execute("BEGIN IMMEDIATE")
        writing.execute("INSERT INTO pins VALUES (10001, 'under way')")
        return snapshot(path)

    monkeypatch.setattr(staging, "_snapshot", after_a_commit)
    backup(small, tmp_path / "backup.tar")
    writing.execute("COMMIT")
    writing.close()
    restore(tmp_path / "backup.tar", tmp_path / "again")
    text = "\n".join(rows(tmp_path / "again" / "catalogue.db"))
    assert "'committed'" in text and "'under way'" not in text


def _killed(words: list[object], seconds: float) -> int | None:
    """Kill a command some time after it began to work; its status if it had ended by then."""
    said = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import omnisearch.cli.backup, omnisearch.data.backup.backup, "
            f"omnisearch.data.backup.restore\nprint('go', flush=True)\n{MAIN}",
            *map(str, words),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert said.stdout is not None and said.stdout.readline() == b"go\n"
    time.sleep(seconds)
    if said.poll() is None:
        said.send_signal(signal.SIGKILL)
    said.communicate()
    return said.returncode


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_killed_at_any_moment(small: Workspace, tmp_path: Path, form: str) -> None:
    target, live = tmp_path / form, tmp_path / "live"
    statuses = []
    for turn in range(24):
        statuses.append(_killed(["backup", target, "-w", small.root], 0.02 * turn))
        if target.exists():  # then it is whole
            restore(target, tmp_path / "check")
            shutil.rmtree(tmp_path / "check")
            shutil.rmtree(target) if target.is_dir() else target.unlink()
    assert -9 in statuses
    backup(small, target)
    assert not list(tmp_path.rglob(".*.tmp"))  # what the killed ones left
    shutil.copytree(small.root, live)
    (live / "omnisearch.toml").write_text("# the old one\n")
    old, new = files(live), files(small.root)
    for turn in range(24):
        _killed(["restore", target, "-w", live, "--force"], 0.02 * turn)
        assert files(live) in (old, new)
        if files(live) == new:
            (live / "omnisearch.toml").write_text("# the old one\n")
    restore(target, live, force=True)
    assert files(live) == new and not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize("form", FORMS)
def test_a_full_disk(small: Workspace, tmp_path: Path, form: str) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3M", "none", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a file system can be mounted only by root")
    try:
        backup(small, tmp_path / form)
        for words in (
            ["backup", place / form, "-w", small.root],
            ["restore", tmp_path / form, "-w", place / "again"],
        ):
            done = subprocess.run(
                [sys.executable, "-c", MAIN, *map(str, words)], capture_output=True, text=True
            )
            assert done.returncode == 1 and "The disk is full. " in done.stderr.replace("\n", " ")
            assert not list(place.iterdir())
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
