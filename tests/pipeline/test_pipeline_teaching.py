"""`rank teach`: soft labels for L2, made once, from judgments that are not measured."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnisearch import SearchEngine, Workspace, pipeline
from omnisearch.cli.rank import show_teacher
from omnisearch.data.catalogue.schema import open_catalogue, set_meta
from omnisearch.data.catalogue.soft_labels import TEACHER, soft_labels
from omnisearch.data.catalogue.splits import evaluation_queries
from omnisearch.data.workspace.artefacts import pointed
from omnisearch.data.workspace.errors import Corrupt, InputError, NotReady
from omnisearch.encoders import cross_encoder
from omnisearch.encoders.cross_encoder import CrossEncoder, open_teacher
from omnisearch.encoders.training import teach as training
from omnisearch.engine.config import engine_config
from omnisearch.engine.context import NoDeadline
from omnisearch.pipeline import teaching
from omnisearch.pipeline.verify import verify_workspace
from omnisearch.ranker import training as ranker_training

measured = teaching._measured


@pytest.fixture
def shop(trained: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(teaching, "FEWEST", 5)
    monkeypatch.setattr(training, "MOST_STEPS", 3)
    # This small one knows nothing, and is asked to grade all the same.
    monkeypatch.setattr(teaching, "_measured", lambda *given: measured(*given) | {"better": True})
    workspace = Workspace(tmp_path / "shop")
    shutil.copytree(trained.root, workspace.root)
    return workspace


def test_it_grades_first_results_and_learns_from_no_measured_query(shop, backbone) -> None:
    counts = pipeline.teach(shop, str(backbone))
    labels = soft_labels(shop)
    assert counts["graded"] == counts["pairs"] == len(labels) > 100
    with closing(open_catalogue(shop.catalogue)) as db:
        top = db.conn.execute("SELECT MAX(grade) FROM judgments").fetchone()[0]
        measured = evaluation_queries(db)
        assert measured and not measured & teaching._judged(db).keys()
        trained = {query for query, _, _ in teaching._training_pairs(db)}
    # Encoders may learn from the earlier log of a measured query, rankers may not.
    assert measured & {query for query, _, _ in labels} <= trained
    assert all(0 < share < 1 and best == top for share, best in labels.values())
    assert 0 < counts["ndcg"] <= 1 and 0 < counts["ndcg_judged_before"] <= 1


def test_what_it_does_not_learn_from_is_counted_with_its_reason(
    shop, backbone, monkeypatch, capsys
) -> None:
    with closing(open_catalogue(shop.catalogue)) as db:
        asked = {query for (query,) in db.execute("SELECT DISTINCT query FROM judgments")}
        measured = asked & evaluation_queries(db)
    monkeypatch.setattr(teaching, "MOST_QUERIES", len(asked) - len(measured) - 2)
    monkeypatch.setattr(teaching, "MOST_JUDGED", 1)
    counts = pipeline.teach(shop, str(backbone))
    told = {(each["what"], each["why"]): each["count"] for each in counts["left_out"]}
    by_why = {why: count for (what, why), count in told.items() if what == "judged queries"}
    assert by_why["search is measured by them"] == len(measured) > 0
    assert by_why[f"a teacher learns from {teaching.MOST_QUERIES:,} at most"] == 2
    held_out = by_why["this teacher is measured by them"]
    assert sum(by_why.values()) + counts["learned_queries"] == len(asked) and held_out > 0
    assert told["judged items", "a teacher reads 1 of a query at most"] > 0
    assert pipeline.teach(shop, str(backbone))["left_out"] == counts["left_out"]  # not taught again
    show_teacher(counts)
    lines = capsys.readouterr().out.splitlines()
    told_of = f"Left out: judged queries ({len(measured)}): search is measured by them."
    assert told_of in lines and not any("ndcg" in line or "{" in line for line in lines)


def test_the_rankers_learn_from_its_grades(shop, backbone, monkeypatch) -> None:
    without, _ = pipeline.train_rankers(shop)
    pipeline.teach(shop, str(backbone))
    monkeypatch.setattr(ranker_training, "_teaches", lambda *_: True)
    rankers, _ = pipeline.train_rankers(shop)
    assert without.report["taught"] is False and rankers.report["taught"] is True
    assert rankers.report["held_out"] == without.report["held_out"]  # measured by judges alone
    assert rankers.report["trained_on"]["relevance"] > without.report["trained_on"]["relevance"]
    assert rankers.l2.relevance and without.l2.relevance
    assert rankers.l2.relevance.to_json() != without.l2.relevance.to_json()


def test_what_was_graded_is_not_graded_again(shop, backbone) -> None:
    first = pipeline.teach(shop, str(backbone))
    labels = soft_labels(shop)
    steps: list[int] = []
    assert pipeline.teach(shop, str(backbone), lambda done, _: steps.append(done)) == first | {
        "graded": 0
    }
    assert not steps
    (_, entity, item_id), *_ = labels
    with closing(open_catalogue(shop.catalogue)) as db, db.conn:
        db.conn.execute(f"UPDATE {entity}s SET title = 'velvet lamp' WHERE id = ?", [item_id])
    of_item = [pair for pair in labels if pair[1:] == (entity, item_id)]
    assert pipeline.teach(shop, str(backbone))["graded"] == len(of_item)


def test_killed_while_grading_it_goes_on(shop, backbone, monkeypatch) -> None:
    monkeypatch.setattr(teaching, "_BATCH", 64)

    def stop(done: int, total: int) -> None:
        if total > 3 and done >= 128:  # three are the steps of the training
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.teach(shop, str(backbone), stop)
    kept = soft_labels(shop)
    assert len(kept) == 128
    counts = pipeline.teach(shop, str(backbone))
    assert counts["graded"] == counts["pairs"] - 128
    labels = soft_labels(shop)
    assert all(labels[pair] == grade for pair, grade in kept.items())


def test_new_judgments_make_a_new_teacher(shop, backbone) -> None:
    pipeline.teach(shop, str(backbone))
    before = shop.current_teacher.read_text()
    (pair, *_) = soft_labels(shop)
    with closing(open_catalogue(shop.catalogue)) as db, db.conn:
        db["judgments"].insert(
            {"query": pair[0], "entity": pair[1], "item_id": pair[2], "judge": "x", "grade": 3.0}
        )
    counts = pipeline.teach(shop, str(backbone))
    assert shop.current_teacher.read_text() != before
    assert len(list(shop.teachers.iterdir())) == 2  # with the pointer
    assert len(soft_labels(shop)) == counts["pairs"]


@pytest.mark.parametrize("good", [True, False])
def test_a_teacher_is_kept_if_it_adds_to_the_order_before_it(
    good, shop, backbone, monkeypatch, capsys
) -> None:
    """Its grades are those of the judges, or the opposite."""
    monkeypatch.setattr(teaching, "_measured", measured)
    with closing(open_catalogue(shop.catalogue)) as db:
        rows = db.conn.execute("SELECT query, item_id, AVG(grade) FROM judgments GROUP BY 1, 2")
        known = {(query, item_id): grade / 3 for query, item_id, grade in rows}
    monkeypatch.setattr(teaching, "_texts", lambda db, items: {item: item[1] for item in items})

    def grades(self: CrossEncoder, pairs: list[tuple[str, str]]) -> np.ndarray:
        found = np.array([known.get(pair, 0.0) for pair in pairs], np.float32)
        return found if good else 1 - found

    monkeypatch.setattr(CrossEncoder, "grades", grades)
    counts = pipeline.teach(shop, str(backbone))
    assert counts["better"] is good and ("graded" in counts) is good
    assert (counts["ndcg_judged_both"] > counts["ndcg_judged_before"]) is good
    assert bool(soft_labels(shop)) is good and shop.current_teacher.exists() is good
    show_teacher(counts)
    told = " ".join(capsys.readouterr().out.split())
    assert ("rank train" in told) is good and ("are not used" in told) is not good


def test_it_begins_with_the_encoder_of_the_items(shop) -> None:
    with closing(open_catalogue(shop.catalogue)) as db:
        assert teaching._usual_backbone(db) == "minilm"
        set_meta(db, "text_encoder", {"backbone": "a/multilingual"})
        assert teaching._usual_backbone(db) == "a/multilingual"
        set_meta(db, "text_encoder", {"backbone": "tuned-1234"})
        set_meta(db, "tuned_encoder", {"begin": {"backbone": "a/multilingual"}})
        assert teaching._usual_backbone(db) == "a/multilingual"


def test_a_folder_without_a_model_is_told_before_the_judgments_are_read(
    shop, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(teaching, "_judged", lambda db: pytest.fail("they were read first"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="This folder holds no model"):
        pipeline.teach(shop, str(tmp_path / "empty"))


def test_few_judgments_teach_nobody(shop, backbone, monkeypatch) -> None:
    monkeypatch.setattr(teaching, "FEWEST", 10**6)
    with pytest.raises(NotReady, match="1,000,000"):
        pipeline.teach(shop, str(backbone))
    assert soft_labels(shop) == {} and not shop.teachers.exists()


def test_a_damaged_file_of_grades_is_named(shop, backbone) -> None:
    pipeline.teach(shop, str(backbone))
    for file in shop.root.glob("soft_labels.db*"):
        file.write_bytes(b"no database" * 1000)
    with pytest.raises(Corrupt, match="Delete it"):
        pipeline.train_rankers(shop)
    for file in shop.root.glob("soft_labels.db*"):
        file.unlink()
    assert pipeline.train_rankers(shop)[0].report["taught"] is False


def test_a_long_text_is_cut(backbone) -> None:
    teacher = cross_encoder.CrossEncoder(str(backbone))
    assert np.isfinite(teacher.grades([("oak " * 1000, "chair " * 1000)])).all()


@pytest.fixture
def taught(shop: Workspace, backbone: Path) -> Workspace:
    """A shop with rankers and an exported teacher."""
    pipeline.teach(shop, str(backbone))
    pipeline.train_rankers(shop)
    pipeline.export_teacher(shop)
    return shop


def first(workspace: Workspace, most: int, context: Any = None) -> Any:
    config = engine_config(workspace, rerank=most)
    with closing(SearchEngine.open(workspace, config)) as engine:
        searcher = engine.at(engine.snapshot)
        return searcher.search("boho bedroom", k=40, explain=True, context=context)


def test_an_exported_teacher_reranks_the_first_results_alone(taught) -> None:
    without, with_20 = first(taught, 0), first(taught, 20)
    places = [[(hit.entity, hit.id) for hit in found.hits] for found in (without, with_20)]
    assert places[0] != places[1] and without.total == with_20.total
    graded = [hit for hit in with_20.hits if hit.explain["teacher"] is not None]
    assert len(graded) <= 20 and "rerank" in with_20.stages
    assert all(hit.explain["teacher"] is None for hit in without.hits)
    # Its grades are those of the teacher itself.
    folder = pointed(taught.current_teacher, TEACHER)
    with closing(open_catalogue(taught.catalogue)) as db:
        texts = teaching._texts(db, [(hit.entity, hit.id) for hit in graded])
    wanted = open_teacher(folder).grades([("boho bedroom", text) for text in texts.values()])
    found = [hit.explain["teacher"] for hit in graded]
    np.testing.assert_allclose(found, wanted, atol=0.03)


def test_without_time_the_teacher_is_left_out(taught) -> None:
    class Late(NoDeadline):
        def may_begin(self, name: str) -> bool:
            if name == "rerank":
                self.left_out.append(name)
            return name != "rerank"

    late, without = first(taught, 20, Late()), first(taught, 0)
    assert [hit.id for hit in late.hits] == [hit.id for hit in without.hits]
    assert late.degraded == ["rerank"]


def test_a_typed_name_stays_first(taught) -> None:
    with closing(open_catalogue(taught.catalogue)) as db:
        item_id, title = db.conn.execute(
            "SELECT MIN(id), title FROM (SELECT id, title FROM pins UNION ALL "
            "SELECT id, title FROM products) WHERE title LIKE '% % % %' "
            "GROUP BY title HAVING COUNT(*) = 1 ORDER BY title"
        ).fetchone()
    config = engine_config(taught, rerank=50)
    with closing(SearchEngine.open(taught, config)) as engine:
        assert engine.search(title).hits[0].id == item_id


def test_a_teacher_that_was_not_exported_is_asked_for(shop, backbone) -> None:
    pipeline.train_rankers(shop)
    with pytest.raises(NotReady, match="rank teach"):
        first(shop, 20)


def test_a_damaged_export_is_named(taught) -> None:
    model = taught.reranker / "teacher.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    assert not verify_workspace(taught).problems
    model.write_bytes(content)
    assert "teacher.onnx" in " ".join(verify_workspace(taught).problems)
    with pytest.raises(Corrupt, match="export teacher"):
        first(taught, 20)
