"""Interest classification: the labels file, the measures, the classifier, fastText, the report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from omnisearch.data.importers.datasets.labels import split_of
from omnisearch.data.text.normalise import words
from omnisearch.data.workspace.errors import Corrupt, InputError, NotReady
from omnisearch.evaluation.classification import fasttext_baseline, measures
from omnisearch.evaluation.classification.classifier_file import (
    classifier_path,
    guesses,
    read_classifier,
    train_classifier,
    write_classifier,
)
from omnisearch.evaluation.classification.labels import SEPARATOR, labels_of, read_labels
from omnisearch.evaluation.classification.measures import (
    hits_and_recall,
    hits_at_1,
    in_blocks,
    precision,
    recall_at,
)
from omnisearch.evaluation.classification.render import markdown
from omnisearch.evaluation.classification.study import FASTTEXT, MAJORITY, classification_report

ROOMS = {"kitchen": ("sink", "oven", "pan"), "garden": ("rake", "hose", "spade")}
COLOURS = ("red", "blue", "green", "old", "new", "small", "large", "cheap", "fine", "dark")
SIZES = ("one", "two", "three", "four")


def room_rows():
    return [
        (f"{colour} {thing} {size}", [room, thing])
        for room, things in ROOMS.items()
        for thing in things
        for colour in COLOURS
        for size in SIZES
    ]


def one_hot(texts):
    """(n, 64) unit rows: which of the things' names a text holds."""
    names = [thing for things in ROOMS.values() for thing in things]
    vectors = np.full((len(texts), 64), 0.01, dtype=np.float32)
    for row, text in enumerate(texts):
        for at, name in enumerate(names):
            vectors[row, at] += name in text.split()
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Tower:
    """A stand-in for an encoder."""

    dim, name, checkpoint = 64, "default", "0123456789abcdef"

    def queries(self, texts):
        return one_hot(texts)


def test_a_labels_file_names_nodes_by_their_whole_path_and_refuses_by_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(
        "query,label\n"
        "Oak  Table,home > tables\n"
        "oak table,home > oak\n"
        "tables,garden > tables\n"
        ",home\n"
        "chair,\n"
        "stool,home >  > stools\n"
        "bench\n"
    )
    found = read_labels(path)
    assert found.queries == ["oak table", "tables"]
    nodes = ["garden", "home", "garden > tables", "home > oak", "home > tables"]
    assert found.nodes == nodes
    assert found.levels == [slice(0, 2), slice(2, 5)]
    assert found.targets.toarray().tolist() == [
        [False, True, False, True, True],
        [True, False, True, False, False],
    ]
    assert [(refusal.line, refusal.field) for refusal in found.refused] == [
        (5, "query"),
        (6, "label"),
        (7, "label"),
        (8, ""),
    ]


def test_jsonl_labels_and_files_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(json.dumps({"query": "a", "label": "b > c"}) + '\n{"query": 1.5}\n')
    assert read_labels(path).nodes == ["b", "b > c"]
    (tmp_path / "other.csv").write_text("text,label\na,b\n")
    with pytest.raises(InputError, match="no column 'query'"):
        read_labels(tmp_path / "other.csv")
    (tmp_path / "bad.csv").write_text("query,label\n,b\n")
    with pytest.raises(InputError, match="line 2: The file has no valid row: query is missing"):
        read_labels(tmp_path / "bad.csv")


@given(
    st.lists(
        st.tuples(
            st.text("ab ", min_size=1).filter(str.strip),
            st.lists(st.text("xyz", min_size=1), min_size=1),
        ),
        min_size=1,
    )
)
def test_every_query_has_each_ancestor_of_its_labels_and_nothing_else(rows) -> None:
    found = labels_of(rows, [])
    wanted = {(query, tuple(path[: d + 1])) for query, path in rows for d in range(len(path))}
    table = found.targets.toarray()
    have = {
        (found.queries[row], tuple(found.nodes[at].split(SEPARATOR)))
        for row, at in np.argwhere(table)
    }
    assert have == wanted
    for depth, level in enumerate(found.levels, 1):
        assert {len(node.split(SEPARATOR)) for node in found.nodes[level]} == {depth}


def test_the_split_keeps_for_test_what_the_importers_do() -> None:
    labels = labels_of(room_rows(), [])
    parts = {name: labels.part(name) for name in ("train", "valid", "test")}
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(labels.queries)))
    kept = {row for row, query in enumerate(labels.queries) if split_of(query) == "test"}
    assert set(parts["test"].tolist()) == kept
    assert len(parts["train"]) > 5 * len(parts["valid"]) > 0


def test_precision_counts_a_query_only_where_it_has_a_node() -> None:
    levels = [slice(0, 2), slice(2, 5)]
    targets = np.array([[1, 0, 0, 1, 1], [0, 1, 0, 0, 0], [1, 1, 1, 0, 0]], dtype=bool)
    scores = np.array([[9, 1, 0, 2, 1], [9, 1, 5, 5, 5], [1, 9, 1, 1, 1.0]])
    hits = hits_at_1(scores, targets, levels)
    np.testing.assert_array_equal(hits, [[1, 1], [0, np.nan], [1, 1]])
    assert precision(hits).tolist() == [2 / 3, 1]
    np.testing.assert_array_equal(
        recall_at(scores, targets, levels, k=1), [[1, 0.5], [0, np.nan], [0.5, 1]]
    )


def test_blocks_say_what_the_whole_says(monkeypatch) -> None:
    monkeypatch.setattr(measures, "_BLOCK", 3)
    rng, levels = np.random.default_rng(0), [slice(0, 2), slice(2, 9)]
    targets, scores = rng.random((10, 9)) < 0.3, rng.random((10, 9))
    held = []

    def scores_of(rows: slice) -> np.ndarray:
        held.append(rows.stop - rows.start)
        return scores[rows]

    found = in_blocks(hits_and_recall, scores_of, csr_matrix(targets), levels)
    whole = [measure(scores, targets, levels) for measure in (hits_at_1, recall_at)]
    np.testing.assert_array_equal(found, np.stack(whole, axis=1))
    assert held == [3, 3, 3, 1]


def test_a_report_on_vectors_that_know_the_answer(monkeypatch) -> None:
    monkeypatch.setattr(fasttext_baseline, "_TRIED", ({"lr": 1.0},))
    labels = labels_of([*room_rows(), (rare_test_query(), ["attic", "trunk"])], [])
    report = classification_report(labels, {"knowing": one_hot}, seeds=(0, 1))
    systems = {system.name: system for system in report.systems}
    tested = sum(split_of(query) == "test" for query in labels.queries)
    assert report.queries["test"] == tested
    assert report.unseen_named == ["attic", "attic > trunk"]
    # The rare query is a miss at both levels, whoever answers; everything else is found.
    for level, coverage in zip(systems["knowing"].levels, report.coverage, strict=True):
        assert level.precision == pytest.approx((tested - 1) / tested)
        assert coverage == level.precision
        assert level.low <= level.precision <= level.high
        assert len(level.of_seeds) == 2
    majority = systems[MAJORITY].levels
    assert 0.3 < majority[0].precision < 0.7 > majority[1].precision
    page = markdown(report)
    assert "knowing" in page and "level 2" in page
    json.dumps(report.to_json())
    if not fasttext_baseline.available():
        assert FASTTEXT not in systems and "not compared" in page
    else:
        assert systems[FASTTEXT].levels[0].precision > 0.9
        assert [(gain.system, gain.level) for gain in report.gains] == [
            ("knowing", 1),
            ("knowing", 2),
        ]


def rare_test_query() -> str:
    return next(f"rare {i}" for i in range(100) if split_of(f"rare {i}") == "test")


def test_without_fasttext_the_comparison_is_left_out_and_told(monkeypatch) -> None:
    monkeypatch.setattr(fasttext_baseline, "available", lambda: False)
    report = classification_report(labels_of(room_rows(), []), {"knowing": one_hot}, seeds=(0,))
    assert report.gains == []
    assert "omnisearchsage[classify]" in markdown(report)


def test_fasttext_logits_order_as_its_own_predictions_do() -> None:
    pytest.importorskip("fasttext", reason="the extra `classify` is not installed")
    labels = labels_of(room_rows(), [])
    texts = fasttext_baseline.Texts(labels.queries, labels.targets, labels.levels)
    settings = fasttext_baseline.FastTextSettings(epoch=5)
    model = fasttext_baseline.fit_fasttext(texts, settings, seed=0)
    found = fasttext_baseline.fasttext_scores(model, labels.queries[:20], len(labels.nodes))
    for text, row in zip(labels.queries, found, strict=False):
        ((best,), _) = model.predict(" ".join(words(text)))
        assert best == f"__label__{row.argmax()}"


def test_a_kept_classifier_answers_as_before_and_damage_is_told(workspace) -> None:
    labels = labels_of(room_rows(), [])
    told: list[tuple[int, int]] = []
    stored = train_classifier(labels, Tower(), lambda *at: told.append(at))
    begins = told.index((0, stored.settings.epochs))  # of the training, after the choice
    assert len(told[:begins]) > 10 and told[begins - 1] == (240, 240)
    assert told[begins:] == [
        (done, stored.settings.epochs) for done in range(stored.settings.epochs + 1)
    ]
    path = write_classifier(workspace, "rooms", stored)
    assert path == classifier_path(workspace, "rooms")
    again = read_classifier(workspace, "rooms")
    vectors = one_hot(["old hose two", "fine oven one"])
    assert guesses(again, vectors) == guesses(stored, vectors)
    first, second = guesses(again, vectors, k=1)
    assert [guess.node for guess in first] == ["garden", "garden > hose"]
    assert [guess.node for guess in second] == ["kitchen", "kitchen > oven"]
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 1
    path.write_bytes(bytes(damaged))
    with pytest.raises(Corrupt, match="classify train"):
        read_classifier(workspace, "rooms")
    with pytest.raises(NotReady, match="no classifier 'others'"):
        read_classifier(workspace, "others")
    with pytest.raises(InputError):
        read_classifier(workspace, "../rooms")


def test_too_few_queries_are_told() -> None:
    with pytest.raises(InputError, match="has no queries"):
        classification_report(labels_of([("a", ["b"])], []), {})
    with pytest.raises(InputError, match="too few"):
        train_classifier(labels_of([("a", ["b"])], []), Tower())
