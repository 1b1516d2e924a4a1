"""Learn the starter ranker (`ranker/starter.json`) from public judgments, and measure it.

    python benchmarks/starter_rankers.py ../shared/data --out starter [--check home_depot] [--write]

Each set is imported, enriched, trained and indexed by README's commands, without engagement and
for queries that no reader but this one may see: judgments only say which candidates are right.
Queries that a set keeps for test are left out, as always.

Prints nDCG@10 of the candidates that are retrieved for judged queries, candidates without a
judgment counted as irrelevant, with 95% intervals of paired differences: of the hand-weighted sum
(PRIOR), of the starter ranker learned from the other sets, and of the set's own rankers (five
folds). Then the same for other ways to learn, by which FEATURES and PULL were chosen. `--check`
adds a set that nothing is learned from or chosen by: its licence forbids to ship what was.

`--write` learns from all sets and writes the file with its card. Finished workspaces and candidates
are kept in --out; remove it to make them again.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from scipy.optimize import minimize
from warm_start import tell, timed

from omnisearch import pipeline
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.files import write_atomic
from omnisearch.engine.ranking_data import RankingOptions, collect
from omnisearch.engine.search import SearchEngine
from omnisearch.evaluation.significance import bootstrap_interval
from omnisearch.ranker.features import feature_names, l1_names
from omnisearch.ranker.l1 import Linear
from omnisearch.ranker.l2 import Head
from omnisearch.ranker.lists import Lists, RankingData, informative_lists, ndcg
from omnisearch.ranker.network import NetworkOptions
from omnisearch.ranker.starter import FILE
from omnisearch.ranker.training import RankerConfig

FOLDERS = {
    "esci": "esci_us",
    "coco": "coco_captions",
    "tate": "tate",
    "home_depot": "home_depot",
}
SOURCES = {  # what the starter ranker is learned from, and licences: each permits to ship it
    "esci": ("OpenSearch sample of Amazon's Shopping Queries data set", "Apache-2.0"),
    "coco": ("MS-COCO 2017 validation captions, COCO Consortium", "CC BY 4.0"),
    "tate": ("Tate collection metadata; subjects as queries", "CC0"),
}
# The sum that ordered before there was a starter ranker. The weight of `text_share` was chosen on
# validation queries of Home Depot and COCO captions, that of `excluded` on ESCI's.
PRIOR = {"learned": 1.0, "text_share": 0.4, "excluded": -0.2}
FEATURES = (*PRIOR, "name_whole")
PULL = 0.1  # nDCG that a squared distance of 1 from PRIOR costs
SCALE = 6.0  # the weights as logits: about the scale that rankers of many labels reach
SHARES = ("bm25_share", "learned_rr", "bm25_rr", "name_share", "name_cover")
QUERIES, FEWEST, MOST = 1000, 3, 300  # of a set; right items of a query of the Tate collection
FOLDS = 5
COMMAND = "python benchmarks/starter_rankers.py ../shared/data --out starter --write"

Sets = Mapping[str, Lists]
Learn = Callable[[list[Lists]], Linear]


def candidates(data: Path, out: Path, name: str) -> RankingData:
    """The retrieved candidates of a set's judged queries, kept in a file."""
    kept = out / f"{name}.npz"
    if not kept.exists():
        found = retrieved(unlabelled(data / FOLDERS[name], out / name, name))
        columns = {key: value for key, value in vars(found).items() if hasattr(value, "dtype")}
        np.savez(kept, **columns)
    return RankingData(**np.load(kept))


def unlabelled(source: Path, folder: Path, name: str) -> Workspace:
    """A set as a workspace whose encoders and items know of no label, made once."""
    workspace = Workspace(folder)
    if workspace.current.exists():
        return workspace
    shutil.rmtree(folder, ignore_errors=True)
    Workspace.create(folder)
    with timed(f"{name}: import, enrich, train, index build"):
        pipeline.import_files(workspace, [source], format=name)
        db = open_catalogue(workspace.catalogue)
        with db.conn:
            db.conn.execute("DELETE FROM engagements")
            db.conn.execute("UPDATE queries SET split = 'valid' WHERE split <> 'test'")
            if name == "tate":  # subjects of most works, and of one or two, are no searches
                db.conn.execute(
                    "DELETE FROM judgments WHERE query IN (SELECT query FROM judgments GROUP BY "
                    f"query HAVING COUNT(*) NOT BETWEEN {FEWEST} AND {MOST})"
                )
        db.conn.close()
        pipeline.enrich(workspace)
        pipeline.train(workspace)
        pipeline.build_index(workspace)
    return workspace


def retrieved(workspace: Workspace) -> RankingData:
    db = open_catalogue(workspace.catalogue)
    engine = SearchEngine.open(workspace)
    try:
        return collect(engine, db, RankingOptions(queries=QUERIES, best=2**31, others=0, as_new=0))
    finally:
        engine.close()
        db.conn.close()


def by_ndcg(names: tuple[str, ...], pull: float) -> Learn:
    """Weights that raise the mean of the sets' nDCG@10 (Metzler and Croft, 2007), near PRIOR."""
    prior = np.array([PRIOR.get(name, 0.0) for name in names])
    columns = [feature_names().index(name) for name in names]

    def learn(sets: list[Lists]) -> Linear:
        boxes = [boxed(lists, columns) for lists in sets]

        def loss(rest: np.ndarray) -> float:  # the first weight, of the cosine, stays 1
            w = np.concatenate([prior[:1], rest])
            far = pull * float(((w - prior) ** 2).sum())
            return far - float(np.mean([mean_ndcg(X @ w, gains) for X, gains in boxes]))

        size = len(names) - 1
        simplex = prior[1:] + np.concatenate([np.zeros((1, size)), 0.15 * np.eye(size)])
        found = minimize(
            loss,
            prior[1:],
            method="Nelder-Mead",
            options={"initial_simplex": simplex, "maxfev": 60 * size, "fatol": 1e-5},
        ).x
        weights = SCALE * np.concatenate([prior[:1], found]).astype(np.float32)
        zeros = np.zeros(len(names), np.float32)
        return Linear(names, weights, zeros, zeros)  # an unknown value counts as 0

    return learn


def boxed(lists: Lists, columns: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Features (queries, most, m) and gains (queries, most), over the ideal DCG@10 of the query.

    Places without a candidate have a first feature of -1e6, which puts them last.
    """
    size = (len(lists.sizes), max(int(lists.sizes.max()), 10))
    query = np.repeat(np.arange(size[0]), lists.sizes)
    place = np.arange(len(lists.y)) - np.repeat(lists.starts, lists.sizes)
    X, y = np.zeros((*size, len(columns))), np.zeros(size)
    X[..., 0] = -1e6
    X[query, place] = np.nan_to_num(lists.X[:, columns])
    X[query, place, 0] += 1e-6 * np.random.default_rng(0).random(len(query))  # shuffles equals
    y[query, place] = lists.y
    return X, y / dcg(-np.sort(-y, axis=1))[:, None]


def mean_ndcg(scores: np.ndarray, gains: np.ndarray) -> float:
    first = np.argpartition(-scores, 9, axis=1)[:, :10]
    order = np.argsort(-np.take_along_axis(scores, first, 1), axis=1)
    shown = np.take_along_axis(gains, np.take_along_axis(first, order, 1), 1)
    return float(dcg(shown).mean())


def dcg(gains: np.ndarray) -> np.ndarray:
    """(queries,) DCG@10 of gains in their order."""
    return gains[:, :10] @ (1 / np.log2(np.arange(10) + 2))


def by_softmax(names: tuple[str, ...]) -> Learn:
    """L1 of the sets, each counted as often as brings it to the size of the largest."""

    def learn(sets: list[Lists]) -> Linear:
        largest = max(len(lists.sizes) for lists in sets)
        repeated = [each for each in sets for _ in range(round(largest / len(each.sizes)))]
        return Linear.fit(repeated, names)

    return learn


STARTER = by_ndcg(FEATURES, PULL)
WAYS = {
    "the hand-weighted sum": lambda sets: hand(),
    "the starter ranker": STARTER,
    "the same, not pulled": by_ndcg(FEATURES, 0.0),
    "the same, pulled half as much": by_ndcg(FEATURES, PULL / 2),
    "the same, pulled twice as much": by_ndcg(FEATURES, PULL * 2),
    "without name_whole": by_ndcg(tuple(PRIOR), PULL),
    **{f"and {name}": by_ndcg((*FEATURES, name), PULL) for name in SHARES},
    "softmax loss, features of the sum": by_softmax(tuple(PRIOR)),
    "softmax loss, all shares and ranks": by_softmax((*FEATURES, *SHARES)),
    "softmax loss, all features of L1": by_softmax(l1_names()),
}


def hand() -> Linear:
    zeros = np.zeros(len(PRIOR), np.float32)
    return Linear(tuple(PRIOR), np.array(list(PRIOR.values()), np.float32), zeros, zeros)


def held_out(sets: Sets, name: str, learn: Learn) -> np.ndarray:
    """(queries,) nDCG@10 of a set by a model of the other sets."""
    model = learn([sets[other] for other in SOURCES if other != name])
    return ndcg(sets[name], model.score(sets[name].X))


def by_own(data: RankingData) -> dict[str, np.ndarray]:
    """L1 and L2 of the set's own labels → nDCG@10 of each query, by models of the other folds.

    L1 leans to the hand-weighted sum, as the starter ranker has learned from all folds; L2 leans to
    the starter ranker of the package.
    """
    queries = informative_lists(data, "relevance").queries
    fold = np.random.default_rng(0).permutation(len(queries)) % FOLDS
    found = {"own L1": np.zeros(len(queries)), "own L2": np.zeros(len(queries))}
    for number in range(FOLDS):
        tested = np.isin(data.groups, queries[fold == number])
        train, test = (informative_lists(data, "relevance", rows) for rows in (~tested, tested))
        judged = informative_lists(data, "relevance", ~tested, labelled=True)
        strength = RankerConfig().l1_prior / len(train.sizes)
        models = (
            Linear.fit([train], l1_names(), strength, hand()),
            Head.fit(train, judged, NetworkOptions()),
        )
        for name, model in zip(found, models, strict=True):
            found[name][fold == number] = ndcg(test, model.score(test.X))
    return found


def difference(ours: np.ndarray, theirs: np.ndarray) -> str:
    low, high = bootstrap_interval(ours - theirs, seed=0)
    return f"{(ours - theirs).mean():+.3f} ({low:+.3f} to {high:+.3f})"


def table(data: Mapping[str, RankingData], sets: Sets) -> dict[str, dict[str, float]]:
    """Print every set's figures; returns those of the card."""
    print("nDCG@10, less the hand-weighted sum")
    figures = {}
    for name, lists in sets.items():
        usual, ours = ndcg(lists, hand().score(lists.X)), held_out(sets, name, STARTER)
        print(f"{name}, {len(ours):,} queries\n  {'hand-weighted sum':20}{usual.mean():7.3f}")
        for title, values in {"starter, held out": ours, **by_own(data[name])}.items():
            print(f"  {title:20}{values.mean():7.3f}  {difference(values, usual)}", flush=True)
        figures[name] = {
            "queries": len(ours),
            "hand-weighted sum": round(float(usual.mean()), 4),
            "starter ranker of the other sets": round(float(ours.mean()), 4),
        }
    return figures


def ways(sets: Sets) -> None:
    """Print what other ways to learn are worth on the set that is held out."""
    print(f"\n{'nDCG@10, held out':36}{'mean':>7} " + "".join(f"{name:>8}" for name in SOURCES))
    for title, learn in WAYS.items():
        means = [held_out(sets, name, learn).mean() for name in SOURCES]
        print(f"{title:36}{np.mean(means):7.4f} " + "".join(f"{mean:8.3f}" for mean in means))


def file_of(model: Linear, figures: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """The content of `starter.json`."""
    sets = {
        name: {"source": source, "licence": licence, **figures[name]}
        for name, (source, licence) in SOURCES.items()
    }
    card = {
        "measure": "nDCG@10 among retrieved candidates, without a judgment: irrelevant",
        "sets": sets,
        "command": COMMAND,
    }
    return {"card": card, "l1": model.to_json()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--check", nargs="*", default=[], choices=["home_depot"])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"Skipped: there is no data in {options.data}.")
        return
    names = [*SOURCES, *options.check]
    data = {name: candidates(options.data, options.out, name) for name in names}
    sets = {name: informative_lists(each, "relevance") for name, each in data.items()}
    figures = table(data, sets)
    ways(sets)
    model = STARTER([sets[name] for name in SOURCES])
    weights = zip(model.names, model.weights / SCALE, strict=True)
    print("\nlearned from all: " + ", ".join(f"{name} {weight:.2f}" for name, weight in weights))
    if options.write:
        content = orjson.dumps(file_of(model, figures), option=orjson.OPT_INDENT_2)
        write_atomic(FILE, content + b"\n")
        tell(f"Wrote {FILE}.")


if __name__ == "__main__":
    main()
