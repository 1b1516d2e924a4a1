"""Rankers on disk: the same scores after loading, damage found before it is parsed, kills."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from ranking_samples import FAST, ranking_data

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import sealed
from omnisearch.data.workspace.errors import Corrupt
from omnisearch.ranker.published import load_rankers, save_rankers
from omnisearch.ranker.training import Rankers, train_rankers


@pytest.fixture(scope="module")
def rankers() -> Rankers:
    return train_rankers(ranking_data(40), FAST)


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "workspace")


def test_no_rankers_are_none(place: Workspace) -> None:
    assert load_rankers(place) is None


def test_loaded_rankers_score_exactly_as_the_saved_ones(place: Workspace, rankers: Rankers) -> None:
    save_rankers(place, rankers)
    loaded = load_rankers(place)
    assert loaded is not None and loaded.report == rankers.report
    X = ranking_data(5, seed=1).X
    np.testing.assert_array_equal(loaded.l1.score(X), rankers.l1.score(X))
    np.testing.assert_array_equal(loaded.l2.score(X, 0.3), rankers.l2.score(X, 0.3))


def test_a_head_that_was_not_trained_stays_absent(place: Workspace) -> None:
    data = ranking_data(10)
    unjudged = replace(data, relevance=np.full(len(data), np.nan, np.float32))
    save_rankers(place, train_rankers(unjudged, FAST))
    loaded = load_rankers(place)
    assert loaded is not None and loaded.l2.relevance is None and loaded.l2.engagement is not None


def test_saving_again_changes_nothing_and_other_rankers_go_live(
    place: Workspace, rankers: Rankers
) -> None:
    first = save_rankers(place, rankers)
    assert save_rankers(place, rankers) == first
    other = train_rankers(ranking_data(12, seed=5), FAST)
    second = save_rankers(place, other)
    assert second != first
    X = ranking_data(2).X
    loaded = load_rankers(place)
    assert loaded is not None
    np.testing.assert_array_equal(loaded.l1.score(X), other.l1.score(X))


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_every_damaged_file_is_named(place: Workspace, rankers: Rankers, damage: str) -> None:
    folder = save_rankers(place, rankers)
    for file in sorted(folder.iterdir()):
        content = file.read_bytes()
        if damage == "remove":
            file.unlink()
        elif damage == "truncate":
            file.write_bytes(content[: len(content) // 2])
        else:
            middle = len(content) // 2
            flipped = bytes([content[middle] ^ 1])
            file.write_bytes(content[:middle] + flipped + content[middle + 1 :])
        with pytest.raises(Corrupt, match=file.name):
            load_rankers(place)
        file.write_bytes(content)


@pytest.mark.parametrize("name", ["", "../../etc", "0123456789abcdef", "\x00\xff"])
def test_a_damaged_pointer_is_corrupt(place: Workspace, rankers: Rankers, name: str) -> None:
    save_rankers(place, rankers)
    (place.rankers / "CURRENT").write_text(name)
    with pytest.raises(Corrupt):
        load_rankers(place)


def test_a_manifest_that_was_forged_with_its_pointer_is_refused(
    place: Workspace, rankers: Rankers
) -> None:
    """Whoever can write files can also write matching hashes; paths still cannot leave."""
    folder = save_rankers(place, rankers)
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    manifest["files"]["../../catalogue.db"] = {"bytes": 0, "sha256": "0" * 64}
    _replace_manifest(place, folder, manifest)
    with pytest.raises(Corrupt, match="manifest"):
        load_rankers(place)


def test_rankers_of_the_first_edition_are_read(place: Workspace, rankers: Rankers) -> None:
    """Their manifest has a hash and no size for each file."""
    folder = save_rankers(place, rankers)
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    files = manifest.pop("files")
    manifest["sha256"] = {name: entry["sha256"] for name, entry in files.items()}
    folder = _replace_manifest(place, folder, manifest)
    X = ranking_data(2).X
    loaded = load_rankers(place)
    assert loaded is not None
    np.testing.assert_array_equal(loaded.l2.score(X), rankers.l2.score(X))
    (folder / "l1.json").write_bytes(b"{}")
    with pytest.raises(Corrupt, match=r"l1\.json"):
        load_rankers(place)


def _replace_manifest(place: Workspace, folder: Path, manifest: dict[str, object]) -> Path:
    """Give rankers another manifest and the name and pointer that go with it."""
    content = sealed(manifest)
    renamed = folder.with_name(hashlib.sha256(content).hexdigest()[:16])
    folder.rename(renamed)
    (renamed / "manifest.json").write_bytes(content)
    (place.rankers / "CURRENT").write_text(renamed.name)
    return renamed


_SAVE_FOREVER = """
import sys
from omnisearch.data.workspace import Workspace
from omnisearch.ranker.published import load_rankers, save_rankers
place = Workspace.create(sys.argv[1])
rankers = load_rankers(place)
print("ready", flush=True)
while True:
    rankers.report["round"] = rankers.report.get("round", 0) + 1
    save_rankers(place, rankers)
"""


def test_rankers_survive_a_process_killed_while_saving(place: Workspace, rankers: Rankers) -> None:
    save_rankers(place, rankers)
    X = ranking_data(2).X
    for delay in (0.0, 0.003, 0.011, 0.02):
        process = subprocess.Popen(
            [sys.executable, "-c", _SAVE_FOREVER, str(place.root)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        loaded = load_rankers(place)
        assert loaded is not None
        np.testing.assert_array_equal(loaded.l2.score(X), rankers.l2.score(X))


@pytest.mark.parametrize("order", [None, 1.5, 10**12, "x", "", "L1"])
def test_an_unknown_order_is_damage_and_not_another_order(
    place: Workspace, rankers: Rankers, order: object
) -> None:
    save_rankers(place, replace(rankers, report={**rankers.report, "order": order}))
    with pytest.raises(Corrupt, match="order is"):
        load_rankers(place)
