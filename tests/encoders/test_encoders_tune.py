"""A text encoder tuned to the log of a catalogue whose query words and item words differ."""

from __future__ import annotations

import shutil
from contextlib import closing

import numpy as np
import pytest
import torch
from small_catalogue import COLOURS, THEMES, fill

from omnisearch.data.catalogue.left_out import LeftOut
from omnisearch.data.catalogue.pairs import training_pairs
from omnisearch.data.catalogue.schema import get_meta
from omnisearch.data.catalogue.soft_labels import add_grades, soft_labels
from omnisearch.data.catalogue.splits import time_split
from omnisearch.data.catalogue.vectors import open_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import write_pointer
from omnisearch.data.workspace.errors import Corrupt, InputError, NotReady
from omnisearch.encoders.config import preset_config
from omnisearch.encoders.form import Form
from omnisearch.encoders.text_encoder import TextTower, text_encoder
from omnisearch.encoders.training import fine_tune
from omnisearch.encoders.training import tune as tuning
from omnisearch.encoders.training.prepare import prepare
from omnisearch.encoders.training.tune import GradedLists, TextPairs, distil, tune
from omnisearch.encoders.training.validate import hold_out
from omnisearch.encoders.training.warm_start import warm_config
from omnisearch.enrichment import tuned_encoder, tuning_pairs
from omnisearch.enrichment.text import embed_texts, refresh_texts, usual_encoder
from omnisearch.enrichment.told import sentences
from omnisearch.enrichment.tuned_encoder import NOTE, TEXT_NOTE, tune_encoder, when_of_use
from omnisearch.pipeline.stale import mend


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Rates and sizes for a small random encoder."""
    monkeypatch.setattr(tuning, "_LR", 3e-3)
    monkeypatch.setattr(tuning, "BATCH", 32)
    monkeypatch.setattr(tuning, "PASSES", 40)
    monkeypatch.setattr(tuned_encoder, "FEWEST", 100)
    # The log fills the steps: learning the items' own texts first takes as long again.
    monkeypatch.setattr(tuned_encoder, "steps_left", lambda pairs: 0)


@pytest.fixture
def shop(tmp_path):
    workspace = Workspace.create(tmp_path / "shop")
    with closing(fill(workspace)) as db:
        yield workspace, db


def test_queries_find_items_by_other_words_after_tuning(shop, backbone) -> None:
    workspace, db = shop
    counts = tune_encoder(workspace, db, str(backbone))
    assert counts["mrr_after"] > 1.5 * counts["mrr_before"]
    name, form = text_encoder(db) or ("", None)
    assert name.startswith("tuned-") and form == Form("mean")
    tower = TextTower(str(workspace.text_encoders / name), 64)
    before = right_themes(TextTower(str(backbone), 64))
    assert right_themes(tower) >= before + 4, before
    feature = open_vectors(workspace, db, "text", "pin")
    assert feature is not None and len(feature.ids) == 120


def test_what_of_the_log_is_not_learned_from_is_counted_with_its_reason(
    shop, backbone, monkeypatch
) -> None:
    workspace, db = shop
    monkeypatch.setattr(tuning, "PASSES", 1)
    monkeypatch.setattr(tuning_pairs, "MOST_STEPS", 1)
    split = time_split(db)
    pairs = training_pairs(db, split)
    whole = {
        (row["query"], row["entity"], row["item_id"])
        for name, table in pairs.items()
        if name != "query"
        for row in table.to_pylist()
    }
    with db.conn:
        db.execute("UPDATE pins SET title = NULL, caption = NULL WHERE id < 'pin0060'")
    counts = tune_encoder(workspace, db, str(backbone))
    told = {each["why"]: each for each in counts["left_out"]}
    most = tuning_pairs.BATCH
    reasons = (
        "the tuned encoder is measured by them",
        f"tuning learns from {most:,} at most",
        "their item has no text",
    )
    assert all(told[why]["count"] > 0 for why in reasons)
    assert counts["pairs"] + sum(told[why]["count"] for why in reasons) == len(whole)
    (later,) = [each for each in told.values() if each["what"].startswith("events since")]
    assert later["count"] > 0
    lines = sentences("tune", counts)
    assert lines[0].startswith("enrich tune: pairs ") and "mrr" not in lines[0]
    assert lines[1:] == [str(LeftOut(**each)) for each in counts["left_out"]]


def right_themes(tower: TextTower) -> int:
    """For how many themes a query is nearest to the item of its theme, which has another word."""
    queries = [f"red {theme}" for theme in THEMES]
    texts = [f"red {words[0]} 7. a picture of a red {words[0]}" for words in THEMES.values()]
    nearest = np.argmax(tower(queries) @ tower(texts).T, axis=1)
    return int((nearest == np.arange(len(THEMES))).sum())


def test_a_workspace_that_moved_keeps_its_encoder(shop, backbone) -> None:
    workspace, db = shop
    tune_encoder(workspace, db, str(backbone))
    moved = Workspace(workspace.root.rename(workspace.root.with_name("moved")))
    assert refresh_texts(moved, db)["computed"] == 0
    config = warm_config(db, preset_config("tiny", warm_steps=5))
    assert config.backbone.startswith("tuned-")
    parts = prepare(moved, db, config, None).parts
    assert parts.feature_models["pin/text"] == parts.feature_models["product/text"]


def test_an_encoder_that_became_no_better_stays(shop, backbone, monkeypatch) -> None:
    workspace, db = shop
    monkeypatch.setattr(tuning, "_LR", 0.0)
    embed_texts(workspace, db, str(backbone))
    before = text_encoder(db)
    counts = tune_encoder(workspace, db)
    assert counts["mrr_after"] == counts["mrr_before"]
    assert text_encoder(db) == before and not workspace.text_encoders.exists()
    assert when_of_use(db) is None  # it is not tried again unless asked for


def test_by_default_it_is_tuned_once(shop, backbone) -> None:
    workspace, db = shop
    embed_texts(workspace, db, str(backbone))
    assert when_of_use(db) == {}
    first = tune_encoder(workspace, db)
    assert when_of_use(db) is None
    begun = (get_meta(db, tuned_encoder.NOTE) or {})["begin"]
    assert begun["backbone"] == str(backbone)
    again = tune_encoder(workspace, db)  # from the same beginning, not from the tuned one
    assert again == first | {"computed": 0}
    assert len(list(workspace.text_encoders.iterdir())) == 1
    assert (usual_encoder(db) or {})["backbone"].startswith("tuned-")


def test_vectors_of_another_encoder_ask_for_a_training(shop, backbone) -> None:
    workspace, db = shop
    assert "train_again" not in embed_texts(workspace, db, str(backbone))
    best = workspace.best_checkpoint("default")
    best.parent.mkdir(parents=True)
    best.write_text("untrained-0\n")  # as before any training: nothing was trained with them
    assert "train_again" not in tune_encoder(workspace, db)
    assert "train_again" not in embed_texts(workspace, db, str(backbone))
    best.write_text("run-1\n")  # as if encoders were trained with these vectors
    assert "train_again" not in embed_texts(workspace, db, str(backbone))
    assert tune_encoder(workspace, db)["train_again"]
    assert embed_texts(workspace, db, str(backbone))["train_again"]


def test_an_unknown_pooling_is_refused(shop, backbone) -> None:
    workspace, db = shop
    embed_texts(workspace, db, str(backbone))
    with pytest.raises(InputError, match="pooling 'max'"):
        tune_encoder(workspace, db, pooling="max")


def test_of_the_encoders_that_fit_the_one_that_finds_the_log_best_is_tuned(
    shop, backbone, tmp_path, monkeypatch
) -> None:
    workspace, db = shop
    tune_encoder(workspace, db, str(backbone))
    better = tmp_path / "better"
    shutil.copytree(workspace.text_encoders / text_encoder(db)[0], better)
    other = Workspace.create(tmp_path / "other")
    with closing(fill(other)) as fresh:
        for names in ([str(backbone), str(better)], [str(better), str(backbone)]):
            with fresh.conn:
                fresh.execute("DELETE FROM meta WHERE key IN (?, ?)", [NOTE, TEXT_NOTE])
            monkeypatch.setattr(tuned_encoder, "fitting_encoders", lambda db, names=names: names)
            monkeypatch.setattr(tuning, "_LR", 0.0)  # no better: the encoder serves as it is
            counts = tune_encoder(other, fresh)
            assert counts[f"mrr_{better}"] == counts["mrr_before"] > counts[f"mrr_{backbone}"]
            assert get_meta(fresh, NOTE)["begin"]["backbone"] == str(better)
            assert text_encoder(fresh) == (str(better), Form("mean"))


def test_a_folder_without_a_model_is_told_before_the_log_is_read(
    shop, tmp_path, monkeypatch
) -> None:
    workspace, db = shop
    monkeypatch.setattr(tuned_encoder, "read_log", lambda db: pytest.fail("it was read first"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="This folder holds no model"):
        tune_encoder(workspace, db, str(tmp_path / "empty"))


def test_without_a_log_titles_and_captions_are_learned_from(shop, backbone, monkeypatch) -> None:
    """Titles say settee or couch, captions sofa: only together do they tell that it is the same."""
    workspace, db = shop
    log = db.execute("SELECT * FROM engagements").fetchall()
    with db.conn:
        db.execute("DELETE FROM engagements")
        for theme, words in THEMES.items():
            for word in words:
                db.execute("UPDATE pins SET caption = replace(caption, ?, ?)", [word, theme])
                db.execute("UPDATE products SET caption = replace(caption, ?, ?)", [word, theme])
    embed_texts(workspace, db, str(backbone))
    before = right_themes(TextTower(str(backbone), 64))
    assert when_of_use(db) == {}
    counts = tune_encoder(workspace, db)
    assert (counts["pairs"], counts["left_out"]) == (162, [])  # a tenth of 180 is held out
    assert counts["mrr_after"] > 1.5 * counts["mrr_before"]
    name, _ = text_encoder(db) or ("", None)
    tower = TextTower(str(workspace.text_encoders / name), 64)
    assert right_themes(tower) >= before + 2, before
    assert when_of_use(db) is None
    with db.conn:
        db.conn.executemany(f"INSERT INTO engagements VALUES ({', '.join('?' * len(log[0]))})", log)
    assert when_of_use(db) == {}  # the log says more
    assert tune_encoder(workspace, db)["pairs"] > 200
    assert when_of_use(db) is None


def test_own_texts_are_learned_before_the_log_if_its_pairs_gain_by_it(
    shop, backbone, monkeypatch
) -> None:
    workspace, db = shop
    monkeypatch.setattr(tuned_encoder, "steps_left", tuning_pairs.steps_left)

    def tuned() -> tuple[dict, str]:
        counts = tune_encoder(workspace, db, str(backbone))
        name, _ = text_encoder(db) or ("", None)
        return counts, name

    counts, after_both = tuned()
    assert counts["own_texts"] > 100
    assert counts["mrr_before"] < counts["mrr_own_texts"] < counts["mrr_after"]
    own = tuning_pairs.own_pairs(db)

    def worse_by_own_texts(tower: TextTower, pairs: TextPairs, *rest: object) -> None:
        if pairs is not own[0]:
            return tune(tower, pairs, *rest)
        for weights in tower.model.parameters():
            weights.data.normal_()

    monkeypatch.setattr(tuned_encoder, "own_pairs", lambda *_: own)
    monkeypatch.setattr(tuned_encoder, "tune", worse_by_own_texts)
    counts, undone = tuned()
    assert counts["mrr_own_texts"] < counts["mrr_before"]
    monkeypatch.setattr(tuned_encoder, "steps_left", lambda pairs: 0)
    counts, by_log_alone = tuned()
    assert "own_texts" not in counts
    assert undone == by_log_alone != after_both


def test_few_pairs_are_refused(shop, backbone, monkeypatch) -> None:
    workspace, db = shop
    monkeypatch.setattr(tuned_encoder, "FEWEST", 10**6)
    embed_texts(workspace, db, str(backbone))
    assert when_of_use(db) is None
    with pytest.raises(NotReady, match="1,000,000"):
        tune_encoder(workspace, db)


def test_a_damaged_encoder_is_not_used(shop, backbone) -> None:
    workspace, db = shop
    tune_encoder(workspace, db, str(backbone))
    (weights,) = workspace.text_encoders.glob("*/model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(Corrupt, match="does not match its manifest"):
        refresh_texts(workspace, db)
    db["pins"].insert({"id": "new", "title": "red couch"})
    told, *rest = mend(workspace, db)  # an index update goes on, and says so
    assert "not embedded" in told and "enrich tune" in told
    assert any("1 missing" in each for each in rest)


def test_it_learns_from_no_pair_that_validates_training(shop) -> None:
    _, db = shop
    split = time_split(db)
    _, valid = hold_out(db, split, training_pairs(db, split), preset_config("demo"))
    log = tuning_pairs.read_log(db)
    new = {
        (row["query"], (entity, row["item_id"]))
        for entity, table in valid.items()
        for row in table.to_pylist()
        if entity != "query" and not row["seen"]
    }
    assert new and not new & set(log.learned)
    assert set(log.held_out) == new


def test_items_that_a_query_led_to_are_no_negatives_of_it(backbone, monkeypatch) -> None:
    """A batch of one query with two items: without negatives there is nothing to learn."""
    monkeypatch.setattr(fine_tune, "_WEIGHT_DECAY", 0.0)
    tower = TextTower(str(backbone), 64)
    before = {name: value.clone() for name, value in tower.model.state_dict().items()}
    pairs = TextPairs(["sofa", "sofa"], np.array([0, 1]), [["couch"], ["settee"]])
    tune(tower, pairs)
    for name, value in tower.model.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_items_are_ordered_as_they_were_graded(backbone, monkeypatch) -> None:
    """The items of a query are of all themes; one is of its own, and has another word."""
    monkeypatch.setattr(tuning, "_LR_LISTS", 3e-3)
    monkeypatch.setattr(tuning, "LISTS", 10)
    tower = TextTower(str(backbone), 64)
    texts = [[f"red {words[0]}"] for words in THEMES.values()]
    grades = np.full((len(THEMES), len(THEMES)), 0.1, np.float32)
    np.fill_diagonal(grades, 0.9)
    queries = [f"red {theme}" for theme in THEMES]
    items = [np.arange(len(THEMES))] * len(THEMES)

    def right() -> int:
        nearest = np.argmax(tower(queries) @ tower([text for (text,) in texts]).T, axis=1)
        return int((nearest == np.arange(len(THEMES))).sum())

    before = right()
    steps: list[tuple[int, int]] = []
    distil(tower, GradedLists(queries, items, list(grades), texts), lambda *at: steps.append(at))
    assert right() >= before + 4
    assert steps == [(step, 40) for step in range(1, 41)]


def taught(workspace: Workspace, queries: list[str]) -> None:
    """Grades for these queries: items of their theme and colour are best, of their theme next."""
    workspace.teachers.mkdir()
    write_pointer(workspace.current_teacher, "teacher")
    themes = list(THEMES)

    def grade(query: str, number: int) -> float:
        if themes[number % 10] not in query:
            return 0.1
        return 0.9 if query.startswith(COLOURS[number // 10 % 6]) else 0.5

    rows = [
        ((query, "pin", f"pin{number:04d}"), b"", grade(query, number), 3.0)
        for query in queries
        for number in range(60)
    ]
    add_grades(workspace, "teacher", rows)


def test_after_the_log_it_learns_from_a_teacher(shop, backbone, monkeypatch) -> None:
    workspace, db = shop
    without = tune_encoder(workspace, db, str(backbone))
    before = text_encoder(db)
    learned = sorted({query for query, _ in tuning_pairs.read_log(db).learned})
    taught(workspace, [*learned[:20], "never asked"])

    def worse(tower: TextTower, lists: GradedLists, progress: object) -> None:
        assert lists.queries == learned[:20] and len(lists.items[0]) == 60
        assert sorted({round(float(grade), 1) for grades in lists.grades for grade in grades}) == [
            0.1,
            0.5,
            0.9,
        ]
        for weights in tower.model.parameters():
            torch.nn.init.normal_(weights.data)

    monkeypatch.setattr(tuned_encoder, "distil", worse)
    counts = tune_encoder(workspace, db, str(backbone))
    assert counts["taught_queries"] == 20 and counts["mrr_taught"] < counts["mrr_after"]
    assert text_encoder(db) == before  # what became worse is thrown away
    assert counts["mrr_after"] == without["mrr_after"]
    monkeypatch.setattr(tuned_encoder, "distil", distil)
    monkeypatch.setattr(tuning, "_LR_LISTS", 3e-3)
    monkeypatch.setattr(tuning, "_LR", 1e-6)  # that the log alone leaves something to learn
    better = tune_encoder(workspace, db, str(backbone))
    assert better["mrr_taught"] > better["mrr_after"] and text_encoder(db) != before


def test_a_teacher_tells_nothing_of_pairs_that_are_measured(shop) -> None:
    workspace, db = shop
    log = tuning_pairs.read_log(db)
    asked = {query for query, _ in log.learned}
    (query, (entity, item_id)), *_ = [pair for pair in log.held_out if pair[0] in asked]
    taught(workspace, [query])
    row = ((query, entity, item_id), b"", 0.9, 3.0)
    add_grades(workspace, "teacher", [row])
    lists = tuning_pairs.taught(workspace, db, log)
    shown = {(entity, item_id) for _, entity, item_id in soft_labels(workspace)}
    assert len(lists.texts) == len(shown - {item for of, item in log.held_out if of == query})
