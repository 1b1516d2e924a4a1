"""Training both rankers, what the report says, and data that is too thin to learn from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ranking_samples import FAST, ranking_data

from omnisearch.data.workspace.errors import InputError, NotReady
from omnisearch.ranker import training
from omnisearch.ranker.choice import chosen_order
from omnisearch.ranker.features import feature_names
from omnisearch.ranker.lists import RankingData, informative_lists, ndcg
from omnisearch.ranker.starter import starter
from omnisearch.ranker.training import Rankers, train_rankers

nan = np.nan


@pytest.fixture(scope="module")
def rankers() -> Rankers:
    return train_rankers(ranking_data(150), FAST)


def unknown(data: RankingData) -> np.ndarray:
    return np.full(len(data), nan, np.float32)


def test_each_head_orders_unseen_queries_better_than_any_single_feature(rankers: Rankers) -> None:
    unseen = ranking_data(60, seed=1)
    for label in ("engagement", "relevance"):
        lists = informative_lists(unseen, label)
        best = max(ndcg(lists, lists.X[:, column]).mean() for column in range(len(feature_names())))
        scores = rankers.l2.scores(lists.X)[label]
        assert ndcg(lists, scores).mean() > best + 0.01, label


@pytest.mark.parametrize("taught", [False, True])
def test_the_fitting_tells_how_far_it_is(taught: bool) -> None:
    data = ranking_data(40)
    grades = np.where(np.isnan(data.relevance), 1, nan).astype(np.float32)
    told: list[tuple[int, int]] = []
    train_rankers(
        replace(data, engagement=unknown(data), taught=grades) if taught else data,
        FAST,
        lambda done, total: told.append((done, total)),
    )
    total = 48 if taught else 18  # three models of all, and of each fold
    assert told[0] == (0, total) and told[-1] == (total, total) and len(told) > 4
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_the_report_measures_held_out_queries_and_every_ordering(rankers: Rankers) -> None:
    report = rankers.report
    assert report["rows"] == 6000 and report["queries"] == 150
    for label in ("engagement", "relevance"):
        learned, measured = report["trained_on"][label], report["held_out"][label]
        assert learned >= 148  # a query may happen to have one grade only
        assert measured == learned  # so few are held out in turn
        figures = report["ndcg@10"][label]
        assert set(feature_names()) <= set(figures)
        assert figures["l2"] > figures["bm25"] and figures["l1"] > figures["bm25"]
    importance = report["importance"]
    assert next(iter(importance["engagement"])) in ("learned", "learned_gap", "language_match")
    assert next(iter(importance["relevance"])) in ("learned", "learned_gap", "compat", "compat_gap")
    assert abs(importance["engagement"]["log_price"]) < 0.05


@pytest.mark.parametrize("few", [True, False])
def test_what_is_measured_has_learned_from_the_other_queries_alone(
    few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report's figures are those of rankers that never had the held-out queries.

    Few queries are held out a fifth at a time, of many only the first fifth.
    """
    monkeypatch.setattr(training, "FEW", 100 if few else 5)
    data = replace(ranking_data(60), relevance=unknown(ranking_data(60)))
    part = (np.random.default_rng(FAST.seed).random(60) * 5).astype(int)[data.groups]
    columns = (data.X, data.groups, data.engagement, data.relevance)
    found: dict[str, list[np.ndarray]] = {"l1": [], "l2": []}
    for fold in range(5 if few else 1):
        others = RankingData(*(column[part != fold] for column in columns))
        of_others = train_rankers(others, replace(FAST, held_out=0))
        unseen = informative_lists(data, "engagement", part == fold)
        for name, values in found.items():
            values.append(ndcg(unseen, getattr(of_others, name).score(unseen.X)))
    rankers = train_rankers(data, FAST)
    figures = rankers.report["ndcg@10"]["engagement"]
    for name, values in found.items():
        assert figures[name] == pytest.approx(np.concatenate(values).mean())
    assert rankers.report["held_out"]["engagement"] == sum(map(len, found["l1"]))
    # The rankers themselves have learned from all queries.
    X = ranking_data(5, seed=5).X
    assert np.abs(rankers.l2.score(X) - of_others.l2.score(X)).max() > 0.01
    assert np.abs(rankers.l1.score(X) - of_others.l1.score(X)).max() > 0.01


def test_a_label_whose_every_query_is_held_out_is_learned_and_not_measured() -> None:
    data = ranking_data(60)
    held_out = (np.random.default_rng(FAST.seed).random(60) < FAST.held_out)[data.groups]
    rankers = train_rankers(
        replace(data, relevance=np.where(held_out, data.relevance, nan).astype(np.float32)), FAST
    )
    assert rankers.l2.relevance is not None
    assert set(rankers.report["ndcg@10"]) == {"engagement"}
    assert set(rankers.report["importance"]) == {"engagement", "relevance"}


def test_the_same_data_gives_the_same_rankers(rankers: Rankers) -> None:
    again = train_rankers(ranking_data(150), FAST)
    X = ranking_data(5, seed=2).X
    np.testing.assert_array_equal(rankers.l2.score(X), again.l2.score(X))
    np.testing.assert_array_equal(rankers.l1.score(X), again.l1.score(X))
    assert rankers.report == again.report


def test_the_weight_mixes_heads_of_one_scale(rankers: Rankers) -> None:
    X = ranking_data(30, seed=3).X
    heads = rankers.l2.scores(X)
    np.testing.assert_allclose(rankers.l2.score(X, 0), heads["engagement"])
    np.testing.assert_allclose(rankers.l2.score(X, 1), heads["relevance"])
    np.testing.assert_allclose(
        rankers.l2.score(X, 0.25), 0.75 * heads["engagement"] + 0.25 * heads["relevance"]
    )
    for scores in heads.values():
        within = scores.reshape(30, 40).std(axis=1)
        assert 0.6 < within.mean() < 1.6


def test_the_heads_scale_does_not_depend_on_the_size_of_the_grades() -> None:
    data = ranking_data(60)
    graded_in_percent = replace(data, relevance=data.relevance * 33)
    ours, theirs = (train_rankers(each, FAST) for each in (data, graded_in_percent))
    X = ranking_data(5, seed=4).X
    np.testing.assert_allclose(ours.l2.score(X, 1), theirs.l2.score(X, 1), atol=0.3)


@pytest.mark.parametrize("label", ["engagement", "relevance"])
def test_one_kind_of_label_alone_trains_that_head_alone(label: str) -> None:
    data = ranking_data(60)
    other = "relevance" if label == "engagement" else "engagement"
    rankers = train_rankers(replace(data, **{other: unknown(data)}), FAST)
    assert getattr(rankers.l2, other) is None
    assert set(rankers.report["ndcg@10"]) == {label}
    for weight in (0.0, 0.5, 1.0):
        np.testing.assert_array_equal(
            rankers.l2.score(data.X, weight), getattr(rankers.l2, label).score(data.X)
        )


def test_one_query_trains_and_orders_it() -> None:
    found: dict[str, list[float]] = {"l1": [], "l2": []}
    for seed in range(5):
        data = ranking_data(1, seed=seed)
        rankers = train_rankers(data, FAST)
        lists = informative_lists(data, "engagement")
        assert rankers.report["ndcg@10"] == {}  # nothing is held out of one query
        for name, model in (("l1", rankers.l1), ("l2", rankers.l2)):
            found[name].append(float(ndcg(lists, model.score(lists.X))[0]))
    assert np.mean(found["l1"]) > 0.6 and np.mean(found["l2"]) > 0.6


@pytest.mark.parametrize("value", [0.0, 2.0, nan])
def test_labels_that_never_differ_are_refused(value: float) -> None:
    data = ranking_data(8)
    same = np.full(len(data), value, np.float32)
    with pytest.raises(NotReady, match="nothing to train"):
        train_rankers(replace(data, engagement=same, relevance=same), FAST)


def test_no_rows_are_refused() -> None:
    data = ranking_data(1)
    empty = RankingData(data.X[:0], data.groups[:0], data.engagement[:0], data.relevance[:0])
    with pytest.raises(NotReady, match="nothing to train"):
        train_rankers(empty, FAST)


@pytest.mark.filterwarnings("error")
def test_columns_that_are_all_unknown_do_no_harm() -> None:
    data = ranking_data(40)
    X = data.X.copy()
    X[:, [feature_names().index(name) for name in ("bm25", "compat", "log_price", "is_ad")]] = nan
    rankers = train_rankers(replace(data, X=X), FAST)
    assert np.isfinite(rankers.l1.score(X)).all() and np.isfinite(rankers.l2.score(X)).all()
    X[:] = nan
    blind = train_rankers(replace(data, X=X), FAST)
    assert np.ptp(blind.l2.score(X)) == 0


def test_an_unknown_feature_at_serving_that_training_always_knew_is_finite(
    rankers: Rankers,
) -> None:
    X = np.full((3, len(feature_names())), nan, np.float32)
    assert np.isfinite(rankers.l1.score(X)).all() and np.isfinite(rankers.l2.score(X)).all()
    assert rankers.l1.score(X[:0]).shape == (0,) and rankers.l2.score(X[:0]).shape == (0,)


def test_shapes_that_do_not_agree_are_refused() -> None:
    data = ranking_data(3)
    for broken in (
        replace(data, X=data.X[:, 1:]),
        replace(data, groups=data.groups[1:]),
        replace(data, weights=np.ones(2)),
    ):
        with pytest.raises(InputError, match="features"):
            train_rankers(broken, FAST)


def test_only_judged_candidates_train_the_network_and_all_of_them_the_linear_models() -> None:
    data = ranking_data(60)
    judged = ~np.isnan(data.relevance)
    whole = replace(data, relevance=np.nan_to_num(data.relevance), judged=judged)
    # What nobody judged is changed in a way that only a model that has seen it can learn.
    X = whole.X.copy()
    X[~judged, feature_names().index("log_price")] = 9.0
    ours, theirs = (train_rankers(each, FAST).l2 for each in (whole, replace(whole, X=X)))
    first, second = (each.relevance.to_json() for each in (ours, theirs))
    assert first["network"] == second["network"] and first["linear"] != second["linear"]
    assert ours.engagement.network is None


def test_an_order_goes_live_that_loses_to_no_simpler_one() -> None:
    rng = np.random.default_rng(0)
    value = rng.random(400)

    def found(**less: float) -> dict[str, np.ndarray]:
        names = ("l2", "l1", "starter", "rrf", "token")
        return {name: value - less.get(name, 0) + rng.normal(0, 0.05, 400) for name in names}

    assert chosen_order([found()]) == "l2"  # equal but for chance
    assert chosen_order([found(l2=0.05)]) == "l1"
    assert chosen_order([found(), found(l2=0.05)]) == "l1"  # by one kind of label is enough
    assert chosen_order([found(l2=0.1, l1=0.05)]) == ""
    assert chosen_order([found(l2=-0.1, l1=0.05)]) == "l2"
    assert chosen_order([]) == "l2"


@pytest.mark.parametrize("helpful", [True, False])
def test_a_teachers_grades_are_learned_from_if_they_help(helpful: bool) -> None:
    """Few candidates are judged; the teacher knows what makes them relevant, or guesses."""
    rng = np.random.default_rng(3)
    data = ranking_data(120)
    judged = ~np.isnan(data.relevance) & (rng.random(len(data)) < 0.3)
    columns = [data.X[:, feature_names().index(name)] for name in ("learned", "compat")]
    wanted = sum(np.nan_to_num(column) for column in columns)
    grades = (wanted if helpful else rng.random(len(data))).astype(np.float32)
    taught = np.where(judged, nan, 1.5 * grades).astype(np.float32)
    relevance = np.where(judged, data.relevance, 0).astype(np.float32)
    data = replace(data, engagement=unknown(data), relevance=relevance, judged=judged)
    with_teacher = train_rankers(replace(data, taught=taught), FAST)
    assert with_teacher.report["taught"] is helpful
    without = train_rankers(data, FAST)
    assert without.report["taught"] is False
    same = np.array_equal(with_teacher.l1.weights, without.l1.weights)
    assert same is not helpful


def test_an_order_that_is_worse_than_the_starter_rankers_does_not_go_live() -> None:
    good, bad = np.full(40, 0.8), np.full(40, 0.6)
    others = {"rrf": bad, "token": bad}
    assert chosen_order([{"l2": bad, "l1": good, "starter": good, **others}]) == "l1"
    assert chosen_order([{"l2": bad, "l1": bad, "starter": good, **others}]) == ""
    assert chosen_order([{"l2": good, "l1": good, "starter": good, **others}]) == "l2"


@pytest.mark.parametrize(("queries", "live"), [(10, ""), (30, ""), (299, ""), (1_000, "l2")])
def test_of_few_queries_the_starter_ranker_has_the_benefit_of_the_doubt(
    queries: int, live: str
) -> None:
    """A loss of 0.01 where single queries differ by 0.3: of 1,000, too, chance explains it."""
    starter = np.full(queries, 0.7)
    worse = starter - 0.01 + np.where(np.arange(queries) % 2, 0.3, -0.3)
    others = {"starter": starter, "rrf": starter - 0.1, "token": starter - 0.1}
    assert chosen_order([{"l2": worse, "l1": worse, **others}]) == live


def test_of_few_queries_a_gain_by_one_kind_of_label_outweighs_chance_by_another() -> None:
    def found(gain: float) -> dict[str, np.ndarray]:
        noise = np.where(np.arange(30) % 2, 0.3, -0.3)
        starter = np.full(30, 0.6)
        ours = starter + gain + noise
        return {"l2": ours, "l1": ours, "starter": starter, "rrf": starter, "token": starter}

    assert chosen_order([found(0.2), found(-0.01)]) == "l2"
    assert chosen_order([found(0.005), found(-0.01)]) == ""


def test_few_labels_that_the_starter_ranker_explains_better_leave_it_live() -> None:
    """Eleven queries of a fifth cannot tell; all 55, each by models of the others, can."""
    data = replace(ranking_data(55), engagement=unknown(ranking_data(55)))
    scores = starter().score(data.X)
    noisy = scores / scores.std() + np.random.default_rng(0).normal(0, 1.5, len(data))
    judged = ~np.isnan(data.relevance)
    grades = np.where(judged, np.clip(np.round(noisy), 0, 3), nan).astype(np.float32)
    found = train_rankers(replace(data, relevance=grades), FAST)
    assert found.order == ""
    assert found.report["held_out"]["relevance"] > 50
    assert train_rankers(data, FAST).order == "l2"
