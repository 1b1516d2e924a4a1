"""Training the rankers on what the engine itself retrieves."""

from __future__ import annotations

from pathlib import Path

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import NotReady
from omnisearch.data.workspace.progress import Progress
from omnisearch.engine.config import engine_config
from omnisearch.engine.query_embeddings.cache import QueryCache
from omnisearch.engine.ranking_data import RankingOptions, collect
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.snapshot import open_snapshot
from omnisearch.ranker.published import save_rankers
from omnisearch.ranker.training import RankerConfig, Rankers, train_rankers


def train(
    workspace: Workspace,
    options: RankingOptions | None = None,
    config: RankerConfig | None = None,
    progress: Progress | None = None,
) -> tuple[Rankers, Path]:
    """Collect candidates with the live generation, train L1 and L2, and make them live.

    Returns the rankers, whose `report` says what they learned from and how rankers trained on a
    part of it order the rest, and the folder they lie in. Engines that are open take them by
    `reload`.

    Raises:
        NotReady: no generation yet, or neither a log after the end of training nor judgments.
        Corrupt: a file of the generation or the checkpoint was damaged.
    """
    # Rankers that are there already may be the damaged ones that this training is to replace.
    snapshot = open_snapshot(workspace, "tantivy", with_rankers=False)
    settings = engine_config(workspace)
    engine = SearchEngine(
        workspace, snapshot, QueryCache.open_default(workspace, settings), settings
    )
    db = open_catalogue(workspace.catalogue)
    try:
        data = collect(engine, db, options or RankingOptions(), progress)
    finally:
        engine.close()
        db.conn.close()
    if not len(data):
        raise NotReady(
            "There is nothing to train the rankers on: no engagement in the days after the end of "
            "training that the features have not seen, and no judged queries but those kept for "
            "evaluation.",
            where=str(workspace.catalogue),
            how="Import a longer log or judgments; enrich without `--until now` before training "
            "rankers.",
        )
    rankers = train_rankers(data, config or RankerConfig())
    return rankers, save_rankers(workspace, rankers)
