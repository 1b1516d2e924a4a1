"""The share of the network in L2's relevance head, on any workspace with judgments.

    python benchmarks/network_share.py --workspace WORKSPACE [--seeds 3]

Collects what `omnisearch rank train` learns from, holds out three tenths of the queries and trains
on the others, once for each seed. Prints nDCG@10 of the held-out queries, means over seeds: among
all candidates, where those that nobody judged count as irrelevant, and among the judged ones alone.
The network learns from judged candidates. If few of a query's are, a large share of it spoils the
order of the others, and the second column cannot show it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.engine.ranking_data import RankingOptions, collect
from omnisearch.engine.search import SearchEngine
from omnisearch.ranker import l2
from omnisearch.ranker.lists import RankingData, ndcg
from omnisearch.ranker.training import Part, RankerConfig, _fit, _Fitted, _folds

SHARES = (0.0, 0.1, 0.2, 0.3, 0.5)


def measured(data: RankingData, seed: int) -> dict[str, tuple[float, float]]:
    """Order → nDCG@10 among all candidates, and among the judged ones."""
    config = replace(RankerConfig(), seed=seed, held_out=0.3)
    held_out = _folds(data.groups, config)[0]
    train, test = Part.of(data, ~held_out), Part.of(data, held_out)
    l1, trained = _fit(train, config, _Fitted(None, 3))
    head = trained.relevance
    if head is None or head.network is None:
        raise SystemExit("The workspace has no judgments to train a network on.")
    lists = test.all["relevance"], test.labelled["relevance"]
    found = {"l1": tuple(float(ndcg(each, l1.score(each.X)).mean()) for each in lists)}
    for share in SHARES:
        with patch.object(l2, "NETWORK_SHARE", share):
            found[f"share {share}"] = tuple(
                float(ndcg(each, head.score(each.X)).mean()) for each in lists
            )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    workspace = Workspace.open(options.workspace)
    db = open_catalogue(workspace.catalogue)
    engine = SearchEngine.open(workspace)
    data = collect(engine, db, RankingOptions())
    engine.close()
    db.conn.close()
    judged = 0 if data.judged is None else int(data.judged.sum())
    queries = len(np.unique(data.groups))
    print(f"{queries:,} queries, {len(data):,} candidates, {judged:,} of them judged")
    runs = [measured(data, seed) for seed in range(options.seeds)]
    print(f"{'':12} {'all':>8} {'judged':>8}")
    for name in runs[0]:
        whole, alone = np.mean([run[name] for run in runs], axis=0)
        print(f"{name:12} {whole:8.4f} {alone:8.4f}")


if __name__ == "__main__":
    main()
