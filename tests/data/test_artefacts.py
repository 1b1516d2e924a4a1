"""Published folders: what is not as it was written is named, and nothing outside is read."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import orjson
import pytest

from omnisearch.data.workspace.artefacts import (
    Kind,
    numbers_in,
    pointed,
    read_manifest,
    read_number,
    read_verified,
    sealed,
    sweep,
    verified,
    write_manifest,
    write_pointer,
)
from omnisearch.data.workspace.errors import Corrupt
from omnisearch.data.workspace.files import new_folder

KIND = Kind("index", 3, again="Run `make again`.", mend="Put back a copy.", apart=("notes",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    final = tmp_path / "base" / "1"
    with new_folder(final) as unfinished:
        (unfinished / "inner").mkdir()
        (unfinished / "inner" / "a.bin").write_bytes(b"some content")
        (unfinished / "b.json").write_bytes(b"{}")
        write_manifest(unfinished, KIND, {"made": "today"})
    return final


def rewrite(folder: Path, **changes: object) -> None:
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    (folder / "manifest.json").write_bytes(sealed(manifest | changes))


def test_a_whole_folder_is_opened(folder: Path) -> None:
    manifest = verified(folder, KIND)
    assert (manifest["format"], manifest["made"]) == (3, "today")
    assert sorted(manifest["files"]) == ["b.json", "inner/a.bin"]
    assert read_verified(folder, KIND, manifest, "inner/a.bin") == b"some content"
    (folder / "notes").mkdir()
    (folder / "notes" / "state").write_bytes(b"kept apart")
    verified(folder, KIND)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "b.json").unlink(), r"b\.json is missing\."),
        (lambda f: (f / "b.json").write_bytes(b"{ }"), r"b\.json does not have the size"),
        (lambda f: (f / "b.json").write_bytes(b"[]"), r"b\.json does not match its manifest"),
        (lambda f: (f / "inner" / "c").write_bytes(b""), r"inner/c is not in the manifest\."),
    ],
)
def test_every_difference_is_named_with_what_to_do(folder: Path, damage, says: str) -> None:
    damage(folder)
    with pytest.raises(Corrupt, match=rf"{folder}.*{says}.*Put back a copy\."):
        verified(folder, KIND)


def test_a_manifest_that_says_something_else_is_noticed(folder: Path) -> None:
    path = folder / "manifest.json"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"today", b"todax"))
    with pytest.raises(Corrupt, match="The manifest of the index was changed"):
        verified(folder, KIND)
    path.write_bytes(whole)
    assert verified(folder, KIND)["made"] == "today"


def test_a_manifest_of_before_seals_is_read(folder: Path) -> None:
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    del manifest["manifest_sha256"]
    (folder / "manifest.json").write_bytes(orjson.dumps(manifest))
    assert verified(folder, KIND) == manifest


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/hostname", "inner/../b.json", "a\0b", "x" * 5000]
)
def test_a_manifest_cannot_name_files_elsewhere(folder: Path, name: str) -> None:
    (folder.parent / "outside").write_bytes(b"{}")
    rewrite(folder, files={name: {"bytes": 2, "sha256": ""}})
    with pytest.raises(Corrupt):
        verified(folder, KIND)


@pytest.mark.parametrize("link", ["inner", "inner/a.bin"])
def test_links_are_not_followed(folder: Path, tmp_path: Path, link: str) -> None:
    (folder / link).rename(tmp_path / "elsewhere")
    (folder / link).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Corrupt, match=r"inner/a\.bin is outside"):
        verified(folder, KIND)


@pytest.mark.parametrize(
    "changes", [{"files": {}}, {"files": []}, {"files": 3}, {"files": {"b.json": 1}}]
)
def test_a_manifest_without_files_is_refused(folder: Path, changes: dict[str, object]) -> None:
    rewrite(folder, **changes)
    with pytest.raises(Corrupt, match=r"manifest\.json: The manifest of the index"):
        read_manifest(folder, KIND)


def test_another_format_is_refused_with_the_command(folder: Path) -> None:
    rewrite(folder, format=2)
    with pytest.raises(Corrupt, match=r"has format 2, this program reads 3\. Run `make again"):
        verified(folder, KIND)


def test_a_pointer_names_a_folder_beside_it(folder: Path) -> None:
    pointer = folder.parent / "CURRENT"
    assert pointed(pointer, KIND) is None and read_number(pointer, KIND) is None
    write_pointer(pointer, 1)
    assert pointed(pointer, KIND) == folder and read_number(pointer, KIND) == 1
    for text in ("", "..", "../1", ".hidden", "a b", "\0", "१"):
        pointer.write_text(text)
        with pytest.raises(Corrupt, match="not a folder"):
            pointed(pointer, KIND)
    write_pointer(pointer, "gone")
    with pytest.raises(Corrupt, match="gone, which does not exist"):
        pointed(pointer, KIND)
    with pytest.raises(Corrupt, match="not a number"):
        read_number(pointer, KIND)


def test_sweeping_leaves_what_is_kept_what_is_unfinished_and_all_files(folder: Path) -> None:
    base = folder.parent
    for name in ("2", "3", ".4.half", ".2.removed"):
        (base / name).mkdir()
    write_pointer(base / "CURRENT", 1)
    sweep(base, {"1", "3"})
    assert sorted(path.name for path in base.iterdir()) == [
        ".2.removed",
        ".4.half",
        "1",
        "3",
        "CURRENT",
    ]
    assert numbers_in(base) == [1, 3]


def test_a_folder_is_replaced_whole_or_not_at_all(folder: Path) -> None:
    with pytest.raises(FileExistsError), new_folder(folder):
        pass
    with pytest.raises(KeyboardInterrupt), new_folder(folder, replace=True):
        raise KeyboardInterrupt
    verified(folder, KIND)
    with new_folder(folder, replace=True) as unfinished:
        (unfinished / "b.json").write_bytes(b"[]")
        write_manifest(unfinished, KIND)
    assert list(verified(folder, KIND)["files"]) == ["b.json"]
    assert [path.name for path in folder.parent.iterdir()] == ["1"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs renameat2")
def test_a_folder_is_there_at_every_moment_of_its_replacing(folder: Path) -> None:
    done, missing = threading.Event(), 0

    def look() -> None:
        nonlocal missing
        while not done.is_set():
            missing += not (folder / "b.json").exists()

    watcher = threading.Thread(target=look)
    watcher.start()
    for _ in range(300):
        with new_folder(folder, replace=True) as unfinished:
            (unfinished / "b.json").write_bytes(b"[]")
    done.set()
    watcher.join()
    assert missing == 0
