"""What the rankers learn from, and that they change what a search returns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_catalogue import DAY, UNTIL
from engine_fakes import FakeEncoder

from omnisearch.data.catalogue.schema import ITEM_ENTITIES, set_meta
from omnisearch.data.catalogue.splits import evaluation_queries, time_split
from omnisearch.data.workspace.errors import NotReady
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.query_embeddings.cache import QueryCache
from omnisearch.engine.ranking_data import RankingOptions, collect
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.snapshot import Snapshot
from omnisearch.ranker.features import feature_names
from omnisearch.ranker.labels import UNSEEN_WEIGHT
from omnisearch.ranker.training import Rankers, train_rankers


def asked(engine: SearchEngine, db: Any, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    """The collected data and the queries that were collected for, in the order of the groups."""
    queries: list[str] = []

    def watch(encoder: Any, texts: list[str]) -> np.ndarray:
        queries.extend(texts)
        return QueryCache.vectors(engine.cache, encoder, texts)

    monkeypatch.setattr(engine.cache, "vectors", watch)
    return collect(engine, db, RankingOptions(**options)), queries


def test_queries_come_from_the_days_after_training_and_not_from_the_evaluation(
    logged: tuple[SearchEngine, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, db = logged
    split = time_split(db)
    assert split.train_until == UNTIL
    assert evaluation_queries(db) == {"boho sofa"}
    data, queries = asked(engine, db, monkeypatch)
    assert "boho bedroom" in queries and len(queries) == 40  # 41 texts less the measured one
    assert not {"early words", "late words", "boho sofa"} & set(queries)
    assert set(np.unique(data.groups)) == set(range(40))
    assert np.isnan(data.relevance).all()


def test_labels_tell_saved_from_shown_from_never_shown(
    logged: tuple[SearchEngine, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, db = logged
    data, queries = asked(engine, db, monkeypatch, best=1000)
    assert data.X.shape == (len(data), len(feature_names())) and data.weights is not None
    query = "rustic rug"
    shown = {
        row["item_id"]: row["saved"]
        for row in db.query(
            "SELECT item_id, MAX(action = 'save') AS saved FROM engagements WHERE query = ? "
            "GROUP BY item_id",
            [query],
        )
    }
    mine = data.groups == queries.index(query)
    product = data.X[mine][:, feature_names().index("is_product")] == 1
    gain, weight = data.engagement[mine], data.weights[mine]
    assert (gain[~product] == 0).all() and np.allclose(weight[~product], UNSEEN_WEIGHT)
    assert (gain > 0).sum() == sum(shown.values())  # all products are retrieved
    assert (weight > UNSEEN_WEIGHT + 1e-6).sum() == len(shown)


def test_the_label_is_not_among_the_features(
    logged: tuple[SearchEngine, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what was engaged before the end of training matches by engaged query."""
    engine, db = logged
    data, _ = asked(engine, db, monkeypatch)
    assert (data.X[data.engagement > 0][:, feature_names().index("engaged_match")] == 0).all()


def test_a_share_of_the_queries_is_shown_as_new(
    logged: tuple[SearchEngine, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, db = logged
    known = {}
    for share in (0.0, 0.5, 1.0):
        data, queries = asked(engine, db, monkeypatch, as_new=share)
        matched = data.X[:, feature_names().index("engaged_match")] > 0
        known[share] = {queries[group] for group in data.groups[matched]}
    assert not known[1.0] and known[0.5] < known[0.0]
    assert len(known[0.0]) > len(known[0.5]) > 0


def test_features_that_know_the_window_are_refused(
    logged: tuple[SearchEngine, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, db = logged
    engine.snapshot.generation.manifest["engaged_until"] = UNTIL + 10 * DAY  # of an older index
    data, queries = asked(engine, db, monkeypatch)
    assert not queries and not len(data)
    with db.conn:
        set_meta(db, "engaged_until", UNTIL + 10 * DAY)
    with pytest.raises(NotReady, match="computed from events after"):
        collect(engine, db, RankingOptions())


def test_judged_queries_bring_relevance_but_not_those_of_training_or_test(
    logged: tuple[SearchEngine, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, db = logged
    with db.conn:
        db.conn.execute("DELETE FROM engagements")
        for text, split in (
            ("modern sink", "valid"),
            ("modern rug", "test"),
            ("modern lamp", None),
        ):
            db.conn.execute("UPDATE queries SET split = ? WHERE id = ?", [split, text])
        db.conn.execute("UPDATE queries SET split = 'train' WHERE id = 'modern sofa'")
        for text in ("modern sink", "modern rug", "modern lamp", "modern sofa"):
            for judge, grade in (("a", 1.0), ("b", 0.5)):
                db.conn.execute(
                    "INSERT INTO judgments VALUES (?, 'product', 'product1', ?, ?, 0)",
                    [text, judge, grade],
                )
    data, queries = asked(engine, db, monkeypatch)
    assert queries == ["modern lamp", "modern sink"]
    assert np.isnan(data.engagement).all()
    assert np.unique(data.relevance).tolist() == [0.0, 0.75]
    assert (data.relevance == 0.75).sum() == 2
    (left,) = data.left_out
    assert left.count == 2 and left.what == "judged queries" and "a data set keeps them" in left.why


def test_what_is_not_learned_from_is_counted_with_its_reason(
    logged: tuple[SearchEngine, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, db = logged
    with db.conn:  # judgments of what people asked in the week that is measured
        db.conn.execute("INSERT INTO judgments VALUES ('boho sofa', 'pin', 'pin1', 'a', 1, 0)")
    data, _ = asked(engine, db, monkeypatch, queries=7)
    told = {(each.what, each.count): each.why for each in data.left_out}
    # Before, in the day after the fourteen, and in the measured week.
    assert "learn from 2023-11-14 to 2023-11-28" in told["events", 3]
    assert "asked in the week by which search is measured" in told["judged queries", 1]
    assert told["logged queries", 33] == "more than 7, the setting `queries` of [rank]"
    report = train_rankers(data).report
    assert {"count": 1, "what": "judged queries"}.items() <= report["left_out"][-1].items()


def test_the_same_seed_collects_the_same_rows_within_bounds(
    logged: tuple[SearchEngine, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, db = logged
    data, queries = asked(engine, db, monkeypatch, queries=7, best=5, others=6)
    again, same = asked(engine, db, monkeypatch, queries=7, best=5, others=6)
    assert len(queries) == 7 and queries == same
    np.testing.assert_array_equal(data.X, again.X)
    sizes = np.bincount(data.groups)
    labelled = np.bincount(data.groups, np.asarray(data.weights) > UNSEEN_WEIGHT + 1e-6)
    assert (sizes - labelled <= 11).all()


@pytest.fixture
def rankers(logged: tuple[SearchEngine, Any]) -> Rankers:
    return train_rankers(collect(*logged, RankingOptions()))


def test_trained_rankers_put_what_people_choose_first(
    logged: tuple[SearchEngine, Any], rankers: Rankers
) -> None:
    engine, db = logged
    cheap = {row["id"] for row in db.query("SELECT id FROM products WHERE price < 200")}
    snapshot = Snapshot(engine.snapshot.generation, FakeEncoder(), rankers, UNTIL)
    config = EngineConfig(min_share=0.0, ad_share=1.0)
    trained = SearchEngine(engine.workspace, snapshot, engine.cache, config)
    before = [hit.id in cheap for hit in engine.search("boho sofa", k=10).hits]
    response = trained.search("boho sofa", k=10, explain=True)
    assert sum(hit.id in cheap for hit in response.hits) > sum(before) + 3
    assert not response.notes
    for hit in response.hits:
        assert hit.explain is not None
        assert hit.explain["l2"] == pytest.approx(hit.score)
        assert hit.explain["l2_heads"] == {"engagement": pytest.approx(hit.score, abs=1e-5)}
        assert hit.explain["l1"] is not None and hit.explain["rrf"] is None


def test_l1_passes_on_only_its_best_and_pages_stay_stable(
    logged: tuple[SearchEngine, Any], rankers: Rankers
) -> None:
    engine, _ = logged
    snapshot = Snapshot(engine.snapshot.generation, FakeEncoder(), rankers, UNTIL)
    config = EngineConfig(l1_keep=30)
    trained = SearchEngine(engine.workspace, snapshot, engine.cache, config)
    l1 = [(e, i) for e, i, _ in trained.rank("nordic garden", "l1", 100)]
    full = [(e, i) for e, i, _ in trained.rank("nordic garden", "full", 100)]
    sources = [(e, s) for s in ("token", "embedding", "pinsage", "itemsage") for e in ITEM_ENTITIES]
    heads = {
        (entity, key)
        for entity, system in sources
        for key in [i for e, i, _ in trained.rank("nordic garden", system, 300) if e == entity][:10]
    }
    every = [(e, i) for e, i, _ in engine.rank("nordic garden", "l1", 300)]
    assert len(every) > len(l1) and set(l1[30:]) == heads - set(l1[:30])
    assert set(full) == set(l1) and full != l1
    paged = [
        (hit.entity, hit.id)
        for page in range(1, 9)
        for hit in trained.search("nordic garden", k=7, page=page).hits
    ]
    assert paged == full
