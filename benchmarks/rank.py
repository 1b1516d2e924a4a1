"""The rankers against LightGBM's LambdaMART: milliseconds per query, and quality on unseen queries.

    python benchmarks/rank.py [--workspace demo] [--folds 5] [--ablate] [--few]

Latency: features and L1 of 1,000 candidates, both heads of L2 of 200, on one core, for our heads
and for LambdaMART of two sizes, taking turns in one run. Quality (with --workspace): the training
candidates of `omnisearch rank train`, without the queries of the evaluation; the labelled
candidates of every query are ordered by models trained on the other folds. Differences are paired,
with their standard error. What orders by the truth is another question: see `ranker_labels.py`.
`--ablate`
instead trains the heads without each group of features, and with each group alone. `--few` instead
trains L1 on few queries: regularised towards the starter ranker, as in production, and towards
zero. Of the sets that the starter ranker is learned from, this says nothing.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import lightgbm
import numpy as np

from omnisearch.ranker.features import QueryInfo, feature_matrix, feature_names, l1_names
from omnisearch.ranker.l1 import Linear
from omnisearch.ranker.l2 import L2, Head
from omnisearch.ranker.lists import Lists, RankingData, informative_lists, ndcg
from omnisearch.ranker.network import Network, NetworkOptions
from omnisearch.ranker.starter import starter
from omnisearch.ranker.training import LABELS, RankerConfig

Score = Callable[[np.ndarray], np.ndarray]
Fit = Callable[[Lists, Lists | None], Score]  # from all candidates, and from the judged ones
GROUPS = {
    "learned space": ("learned", "learned_gap", "learned_rr"),
    "pre-existing spaces": ("compat", "compat_gap", "compat_rr"),
    "BM25": ("bm25", "bm25_share", "bm25_rr"),
    "engaged queries": ("engaged_match",),
    "name": ("name_share", "name_cover", "name_whole"),
    "text": ("text_share",),
    "exclusion": ("excluded",),
    "item": ("is_product", "log_price", "is_ad"),
    "language": ("language_match",),
}
NOW = 1_700_000_000
PRIOR = RankerConfig().l1_prior
DRAWS = 12  # of training queries
TESTED = 600  # queries of a sample


def lambdamart(lists: Lists, trees: int = 100, leaves: int = 15, rate: float = 0.05) -> Score:
    """LightGBM's ranker on the same rows: deterministic, row-wise, one thread."""
    gains = np.unique(lists.y)
    if len(gains) > 31:
        gains = np.unique(np.quantile(gains, np.linspace(0, 1, 31)))
    level = np.searchsorted((gains[1:] + gains[:-1]) / 2, lists.y)
    parameters = {
        "objective": "lambdarank",
        "label_gain": gains.tolist(),
        "learning_rate": rate,
        "num_leaves": leaves,
        "min_data_in_leaf": 50,
        "lambda_l2": 5.0,
        "feature_fraction": 0.8,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "bagging_by_query": True,
        "seed": 7,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    rows = lightgbm.Dataset(lists.X, level, group=lists.sizes, weight=lists.weights)
    booster = lightgbm.train(parameters, rows, trees)
    return lambda X: np.asarray(
        booster.predict(X, raw_score=True, num_threads=1, validate_features=False)
    )


def alone(name: str) -> Callable[[Lists], Score]:
    """Ranks by one feature, without training."""
    column = feature_names().index(name)
    return lambda lists: lambda X: X[:, column]


def columns(n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random candidates in the form that retrieval returns."""

    def sometimes(values: np.ndarray, share: float) -> np.ndarray:
        return np.where(rng.random(n) < share, values, np.nan).astype(np.float32)

    return {
        "entity": np.sort(rng.integers(0, 2, n)).astype(np.uint8),
        "learned": rng.random(n, dtype=np.float32),
        "compat": sometimes(rng.random(n), 0.9),
        "bm25": sometimes(rng.random(n) * 20, 0.4),
        **{
            f"{source}_rank": sometimes(rng.integers(1, 150, n), 0.4)
            for source in ("learned", "compat", "bm25")
        },
        "engaged_match": sometimes(rng.random(n), 0.9),
        "price": sometimes(rng.random(n) * 100, 0.3),
        "language_match": sometimes(rng.integers(0, 2, n), 0.9),
        "is_ad": rng.random(n) < 0.1,
    }


def random_lists(queries: int = 200, n: int = 100) -> Lists:
    """Queries whose labels depend on two features, so that models grow to full size."""
    rng = np.random.default_rng(0)
    query = QueryInfo.of("boho bedroom", NOW)
    X = np.concatenate([feature_matrix(columns(n, rng), query) for _ in range(queries)])
    liked = X[:, 1] * (1 + np.nan_to_num(X[:, 2])) + rng.normal(0, 0.2, len(X))
    y = np.digitize(liked, [1.0, 1.4, 1.7]).astype(np.float32)
    data = RankingData(X, np.repeat(np.arange(queries), n), y, y)
    return informative_lists(data, "engagement")


def median_ms(calls: dict[str, Callable[[], object]], rounds: int = 500) -> dict[str, float]:
    """Median milliseconds of each function; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append((time.perf_counter() - start) * 1000)
    return {name: float(np.median(values)) for name, values in times.items()}


def latency() -> None:
    lists = random_lists()
    l1 = Linear.fit([lists], l1_names())
    l2 = L2(Head.fit(lists, None, NetworkOptions()), Head.fit(lists, lists, NetworkOptions()))
    small, large = lambdamart(lists), lambdamart(lists, trees=300, leaves=31)
    table, query = columns(1000, np.random.default_rng(1)), QueryInfo.of("boho bedroom", NOW)
    X = feature_matrix(table, query)
    some = X[:200]
    ours = "L2, 200 rows, both heads"
    found = median_ms(
        {
            "features, 1,000 rows": lambda: feature_matrix(table, query),
            "L1, 1,000 rows": lambda: l1.score(X),
            ours: lambda: l2.score(some),
            "LambdaMART 100 x 15, both heads": lambda: (small(some), small(some)),
            "LambdaMART 300 x 31, both heads": lambda: (large(some), large(some)),
        }
    )
    print(f"median of 500 calls on one of {os.cpu_count()} cores")
    for name, value in found.items():
        ratio = f"{value / found[ours]:8.1f} x L2" if name.startswith("Lambda") else ""
        print(f"  {name:34}{value:8.3f} ms{ratio}")


def l2_head(train: Lists, judged: Lists | None) -> Score:
    return Head.fit(train, judged, NetworkOptions()).score


def of_all(fit: Callable[[Lists], Score]) -> Fit:
    """A model that learns from all candidates alone."""
    return lambda train, judged: fit(train)


def unseen(names: tuple[str, ...], *, keep: bool) -> Fit:
    """The L2 head with only these features (`keep`), or without them: the rest are unknown."""
    hidden = np.array([(name in names) != keep for name in feature_names()])

    def blind(X: np.ndarray) -> np.ndarray:
        return np.where(hidden, np.float32(np.nan), X)

    def fit(train: Lists, judged: Lists | None) -> Score:
        some = None if judged is None else replace(judged, X=blind(judged.X))
        score = l2_head(replace(train, X=blind(train.X)), some)
        return lambda X: score(blind(X))

    return fit


def ablations() -> dict[str, Fit]:
    models: dict[str, Fit] = {"L2 head": l2_head}
    for group, names in GROUPS.items():
        models[f"without {group}"] = unseen(names, keep=False)
    for group, names in GROUPS.items():
        models[f"{group} alone"] = unseen(names, keep=True)
    return models


def few_labels(data: RankingData, label: str) -> None:
    """L1 trained on few queries, averaged over samples of these queries."""
    queries = informative_lists(data, label).queries
    print(f"\n{label}: nDCG@10 of unseen queries, {DRAWS} draws, ± one standard error of these")
    print(f"  {'queries':>8}{'starter':>12}{'towards nothing':>18}{'difference':>18}")
    rng = np.random.default_rng(0)
    for count in (10, 30, 100, 400):
        if 2 * count > len(queries):
            break
        found = np.zeros((DRAWS, 3))
        for draw in range(DRAWS):
            drawn = rng.permutation(queries)
            train, test = (
                informative_lists(data, label, np.isin(data.groups, part))
                for part in (drawn[:count], drawn[count:][:TESTED])
            )
            free = Linear.fit([train], l1_names(), PRIOR / count)
            usual = Linear.fit([train], l1_names(), PRIOR / count, starter())
            scores = [model.score(test.X) for model in (starter(), free, usual)]
            found[draw] = [ndcg(test, score).mean() for score in scores]
        begin, towards_nothing, _ = found.mean(0)
        less = found[:, 2] - found[:, 1]
        error = less.std(ddof=1) / DRAWS**0.5
        print(f"  {count:8}{begin:12.3f}{towards_nothing:18.3f}{less.mean():+11.3f} ± {error:.3f}")


def quality(workspace: Path, folds: int, ablate: bool, few: bool) -> None:
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.data.workspace import Workspace
    from omnisearch.engine.ranking_data import RankingOptions, collect
    from omnisearch.engine.search import SearchEngine

    engine = SearchEngine.open(Workspace.open(workspace))
    db = open_catalogue(engine.workspace.catalogue)
    data = collect(engine, db, RankingOptions())
    if few:
        for label in LABELS:
            few_labels(data, label)
        return
    models: dict[str, Fit] = {
        "L2 head": l2_head,
        "its linear part": lambda train, judged: l2_head(train, None),
        "network of all candidates": of_all(lambda lists: Network.fit(lists).score),
        "L1": of_all(
            lambda lists: Linear.fit([lists], l1_names(), PRIOR / len(lists.sizes), starter()).score
        ),
        "LambdaMART 100 x 15": of_all(lambdamart),
        "LambdaMART 300 x 31": of_all(lambda lists: lambdamart(lists, 300, 31)),
        **{
            f"{name} alone": of_all(alone(name))
            for name in ("learned", "compat", "bm25", "engaged_match")
        },
    }
    for label in LABELS:
        compare(data, label, ablations() if ablate else models, folds)
    if not ablate:
        mixes(data, folds)


def compare(data: RankingData, label: str, models: dict[str, Fit], folds: int) -> None:
    fold = folds_of(data, folds)
    found: dict[str, list[np.ndarray]] = {name: [] for name in models}
    seconds = dict.fromkeys(models, 0.0)
    for number in range(folds):
        train = informative_lists(data, label, fold != number)
        given = informative_lists(data, label, fold != number, labelled=True)
        test = informative_lists(data, label, fold == number, labelled=True)
        if not len(train.sizes) or not len(test.sizes):
            print(f"\n{label}: too few queries with labels")
            return
        for name, fit in models.items():
            start = time.perf_counter()
            score = fit(train, given if label == "relevance" else None)
            seconds[name] += time.perf_counter() - start
            found[name].append(ndcg(test, score(test.X)))
    values = {name: np.concatenate(parts) for name, parts in found.items()}
    first = values["L2 head"]
    print(f"\n{label}: {len(first)} queries, {folds} folds; training in seconds a fold")
    print(f"  {'':30}{'nDCG@10':>8}{'less L2 head':>20}{'seconds':>10}")
    for name, value in values.items():
        less = value - first
        error = less.std() / len(less) ** 0.5
        print(
            f"  {name:30}{value.mean():8.4f}{less.mean():+11.4f} ± {error:.4f}"
            f"{seconds[name] / folds:10.1f}"
        )


def folds_of(data: RankingData, folds: int) -> np.ndarray:
    """(n,) the fold of each row's query."""
    queries = np.unique(data.groups)
    fold_of = np.random.default_rng(3).integers(0, folds, len(queries))
    return fold_of[np.searchsorted(queries, data.groups)]


def mixes(data: RankingData, folds: int) -> None:
    """The effect of the relevance head's weight on each label."""
    weights, fold = (0.0, 0.25, 0.5, 0.75, 1.0), folds_of(data, folds)
    found: dict[str, list[list[np.ndarray]]] = {label: [] for label in LABELS}
    for number in range(folds):
        train = [informative_lists(data, label, fold != number) for label in LABELS]
        judged = informative_lists(data, "relevance", fold != number, labelled=True)
        if not all(len(lists.sizes) for lists in train):
            return
        pairs = zip(train, (None, judged), strict=True)
        l2 = L2(*(Head.fit(lists, some, NetworkOptions()) for lists, some in pairs))
        for label in LABELS:
            test = informative_lists(data, label, fold == number, labelled=True)
            found[label].append([ndcg(test, l2.score(test.X, w)) for w in weights])
    print("\nnDCG@10 by weight of the relevance head" + "".join(f"{w:9}" for w in weights))
    for label, parts in found.items():
        means = [np.concatenate(values).mean() for values in zip(*parts, strict=True)]
        print(f"  {label:37}" + "".join(f"{mean:9.4f}" for mean in means))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--ablate", action="store_true")
    parser.add_argument("--few", action="store_true")
    options = parser.parse_args()
    if not (options.ablate or options.few):
        latency()
    if options.workspace:
        quality(options.workspace, options.folds, options.ablate, options.few)


if __name__ == "__main__":
    main()
