"""A cross-encoder that learns to grade."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from small_catalogue import COLOURS, THEMES

from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.encoders.cross_encoder import CrossEncoder, open_teacher
from omnisearch.encoders.text_encoder import TextTower
from omnisearch.encoders.training import teach as teaching
from omnisearch.encoders.training.teach import GradedPairs, teach


@pytest.fixture
def teacher(backbone: Path) -> CrossEncoder:
    return CrossEncoder(str(backbone))


def pairs_of(colours: tuple[str, ...]) -> GradedPairs:
    """Each colour's query with items of that colour and of others: 1 and 0."""
    rows = [
        (f"{colour} {theme}", f"{other} {words[0]}", float(colour == other))
        for theme, words in THEMES.items()
        for colour in colours
        for other in COLOURS
    ]
    grades = np.array([grade for *_, grade in rows], np.float32)
    return GradedPairs([(query, text) for query, text, _ in rows], grades)


def test_it_grades_pairs_that_it_has_not_seen(teacher, monkeypatch) -> None:
    monkeypatch.setattr(teaching, "_LR", 1e-3)
    monkeypatch.setattr(teaching, "MOST_STEPS", 1000)
    monkeypatch.setattr(teaching, "PASSES", 300)
    judged = pairs_of(COLOURS)
    themes = list(THEMES)
    unseen = np.array([query.split()[1] in themes[:2] for query, _ in judged.pairs])
    learned = GradedPairs(
        [pair for pair, left in zip(judged.pairs, unseen, strict=True) if not left],
        judged.grades[~unseen],
    )
    steps: list[tuple[int, int]] = []
    teach(teacher, learned, lambda done, total: steps.append((done, total)))
    assert steps[0][0] == 1 and steps[-1][0] == steps[-1][1]
    grades = teacher.grades([pair for pair, left in zip(judged.pairs, unseen, strict=True) if left])
    right = judged.grades[unseen] == 1
    assert grades.dtype == np.float32 and grades.min() >= 0 and grades.max() <= 1
    # As probabilities: a sixth of the pairs is right.
    assert grades[right].mean() > 0.7 and grades[~right].mean() < 0.2


def test_a_grade_does_not_depend_on_the_other_pairs(teacher) -> None:
    pairs = [*pairs_of(COLOURS).pairs[:70], ("", ""), ("red \ud800 sofa", "red " * 500)]
    together = teacher.grades(pairs)
    alone = np.concatenate([teacher.grades([pair]) for pair in pairs])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert teacher.grades([]).shape == (0,)


def test_a_saved_teacher_grades_alike_and_a_damaged_one_is_refused(teacher, tmp_path) -> None:
    folder = tmp_path / "teacher"
    folder.mkdir()
    teacher.save(folder, {"learned_from": "judgments"})
    pairs = pairs_of(COLOURS).pairs
    assert np.array_equal(open_teacher(folder).grades(pairs), teacher.grades(pairs))
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(Corrupt, match="rank teach"):
        open_teacher(folder)


def test_a_missing_backbone_is_named() -> None:
    with pytest.raises(InputError, match="nowhere"):
        CrossEncoder("nowhere", local=True)


def test_a_folder_without_a_vocabulary_is_refused(backbone, tmp_path) -> None:
    """The library would make an empty tokeniser, to which all texts are alike."""
    for name in ("config.json", "model.safetensors"):
        shutil.copy(backbone / name, tmp_path)
    with pytest.raises(InputError, match="tokeniser"):
        CrossEncoder(str(tmp_path), local=True)
    with pytest.raises(InputError, match="tokeniser"):
        TextTower(str(tmp_path), 32, local=True)
