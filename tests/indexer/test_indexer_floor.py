"""The floor of a generation: measured by a build on noise and on what people may search for."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sqlite_utils
from indexer_fakes import FakeEncoder, put

from omnisearch.data.text.normalise import words
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import write_manifest
from omnisearch.data.workspace.errors import Corrupt
from omnisearch.indexer.build import build
from omnisearch.indexer.floor import (
    _TRANSLATED,
    measured,
    nonsense,
    queries_of_names,
    translates,
)
from omnisearch.indexer.generation import Generation
from omnisearch.indexer.segment import GENERATION
from omnisearch.indexer.update import update

Small = tuple[Workspace, sqlite_utils.Database]


def test_nonsense_is_of_several_kinds_and_always_the_same() -> None:
    texts = nonsense(300)
    assert texts == nonsense(300) and texts != nonsense(300, seed=1)
    assert len(set(texts)) > 290 and all(words(text) for text in texts)
    assert sum(text.isascii() for text in texts) > 120
    assert sum(not text.isascii() for text in texts) > 80


def test_queries_are_words_of_names() -> None:
    found = queries_of_names(["a large copper sink", "42"], 50)
    assert len(found) == 50
    assert set(" ".join(found).split()) == {"large", "copper", "sink"}
    assert queries_of_names(["42", ""], 50) == []


def encode(texts: list[str]) -> np.ndarray:
    """A text's only number: its length."""
    return np.array([[float(len(text))] for text in texts])


@pytest.mark.parametrize(("low", "floor"), [(0.8, 0.485), (0.3, 0.36)])
def test_the_floor_is_above_noise_and_below_what_is_real(low: float, floor: float) -> None:
    noise = iter(np.linspace(0.2, 0.5, 300))
    real = iter(np.linspace(low, 0.9, 200))
    texts = iter([noise] * 300 + [real] * 200)
    found = measured(encode, lambda vector: float(next(next(texts))), ["a"] * 200)
    assert found is not None and found["cosine"] == pytest.approx(floor, abs=0.01)
    assert found["real"]["below"] <= 0.1 and found["of"] == 200
    assert measured(encode, lambda vector: 0.0, []) is None


@pytest.mark.parametrize(("low", "floor"), [(0.8, 0.485), (0.0, 0.45)])
def test_related_queries_have_a_floor_that_noise_rarely_reaches(low: float, floor: float) -> None:
    near = iter([*np.linspace(0.2, 0.5, 300), *np.linspace(low, 0.9, 200)])
    found = measured(encode, lambda vector: 0.1, ["a"] * 200, lambda vector: float(next(near)))
    assert found is not None and found["related"] == pytest.approx(floor, abs=0.01)
    assert "related" not in (measured(encode, lambda vector: 0.1, ["a"]) or {})


def test_an_encoder_to_which_nonsense_is_as_near_as_queries_has_no_floor_of_related_ones() -> None:
    near = iter([*np.linspace(0.2, 0.9, 300), *np.linspace(0.3, 0.9, 200)])
    found = measured(encode, lambda vector: 0.1, ["a"] * 200, lambda vector: float(next(near)))
    assert found is not None and "related" not in found


def test_a_build_measures_it_and_updates_keep_it(small: Small) -> None:
    workspace, db = small
    build(workspace, db, FakeEncoder())
    generation = Generation.open(workspace)
    floor = generation.floor
    assert floor is not None and -1 < floor < 1
    told = generation.manifest["floor"]
    assert told["real"]["below"] <= 0.11 and set(told["nonsense"]) == {"median", "below"}
    put(db, "pin", id="pin000", title="quite another title")
    update(workspace, db, FakeEncoder())
    after = Generation.open(workspace)
    assert len(after.segments) == 2 and after.floor == floor
    assert after.related_floor == generation.related_floor == told.get("related")
    assert build(workspace, db, FakeEncoder()) == 3


@pytest.mark.parametrize("bad", [0.5, {"cosine": "high"}, {"cosine": 0.1}])
def test_a_floor_that_is_none_is_refused(small: Small, bad: object) -> None:
    workspace, db = small
    build(workspace, db, FakeEncoder())
    folder = workspace.generation(1)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    del manifest["files"], manifest["format"]
    write_manifest(folder, GENERATION, {**manifest, "floor": bad})
    with pytest.raises(Corrupt, match="cannot be read"):
        Generation.open(workspace)


def test_an_earlier_generation_without_a_floor_opens(small: Small) -> None:
    workspace, db = small
    build(workspace, db, FakeEncoder())
    folder = workspace.generation(1)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    del manifest["files"], manifest["format"], manifest["floor"]
    write_manifest(folder, GENERATION, manifest)
    assert Generation.open(workspace).floor is None


def test_an_encoder_of_many_languages_has_no_floor() -> None:
    def knows(texts: list[str]) -> np.ndarray:
        lines = [line.split() for line in _TRANSLATED]
        places = [next((at for at, line in enumerate(lines) if text in line), 0) for text in texts]
        return np.eye(len(lines), dtype=np.float32)[places]

    assert translates(knows) == 1 and translates(encode) < 0.2
    assert measured(knows, lambda vector: 0.5, ["a"]) is None
