"""The stages from files to rankers: each opens what it needs, does its work and closes it.

A workspace is a `Workspace` or its folder. `progress` is called with (done, total), starting again
for each file, enricher or kind of item. Keyword options are settings: they override
`omnisearch.toml` and the environment for this call. What a stage needs beyond the catalogue (mainly
PyTorch) is imported when the stage runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnisearch.data.workspace.errors import NothingToLearn
from omnisearch.pipeline.opened import WorkspaceLike, opened

if TYPE_CHECKING:
    from omnisearch.data.workspace.progress import Progress
    from omnisearch.encoders.training.run import OnStep, TellLeftOut
    from omnisearch.engine.ads.models import AdModels
    from omnisearch.evaluation.evaluate import Evaluation
    from omnisearch.indexer.signals import ItemsAndQueries
    from omnisearch.ranker.training import Rankers

Tell = Callable[[str], None]


def default_enrichers(workspace: WorkspaceLike) -> list[str]:
    """The enrichers that `enrich` runs by default, in this order.

    Raises NotReady if nothing was imported yet.
    """
    from omnisearch.enrichment import ENRICHERS

    with opened(workspace) as (_, db):
        return [
            name for name, enricher in ENRICHERS.items() if enricher.default_options(db) is not None
        ]


def enrich(
    workspace: WorkspaceLike,
    *names: str,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, dict[str, Any]]:
    """Run the named enrichers of the registry, or without names the default ones.

    Args:
        options: of the named enrichers, such as `until` of 'queries'; without any they run with
            their usual ones.

    Returns:
        Enricher → its counts by name. A true `train_again` says that vectors were replaced that the
        encoders were trained with.

    Raises:
        NotReady: nothing was imported yet.
        InputError: an unknown enricher, or what it needs (a model, pictures) is missing.
    """
    from omnisearch.enrichment import ENRICHERS

    enrichers = [ENRICHERS.named(name) for name in names or default_enrichers(workspace)]
    with opened(workspace, writing=True) as (space, db):
        return {
            each.name: each.run(space, db, progress, **(options or each.default_options(db) or {}))
            for each in enrichers
        }


def train(
    workspace: WorkspaceLike,
    preset: str = "demo",
    *,
    name: str = "default",
    resume: bool = False,
    progress: Progress | None = None,
    on_step: OnStep | None = None,
    tell: TellLeftOut | None = None,
    **options: Any,
) -> Path:
    """Train the query, item and compatibility encoders; returns the best checkpoint's folder.

    Args:
        preset: 'tiny' (tests), 'demo' (minutes on two cores) or 'paper'.
        name: the checkpoint's name.
        resume: continue from the last checkpoint of an unfinished training of this name.
        progress: called while the catalogue is read, and again from 0 during the warm start.
        on_step: called after each step with a `StepReport`.
        tell: called with each `LeftOut`: how much of the log is not learned from, and why.
        options: settings of [train], such as `steps`, `seed`, `backbone`; `warm_steps=0` starts
            without the encoder of 'enrich text'.

    Raises:
        NotReady: nothing was imported yet, or there are no pairs to train on.
        InputError: an unknown preset, a setting out of range, another process is training under
            this name, or the catalogue or settings changed since the checkpoint to resume.
    """
    from omnisearch.data.workspace.settings import load_section
    from omnisearch.encoders.config import preset_config
    from omnisearch.encoders.training.run import train as train_encoders

    with opened(workspace, writing=True) as (space, db):
        config = load_section("train", preset_config(preset), space.settings, options)
        return train_encoders(space, db, config, name, resume, progress, on_step, tell)


def build_index(
    workspace: WorkspaceLike,
    name: str = "default",
    progress: Progress | None = None,
    tell: Tell | None = None,
    **options: Any,
) -> int:
    """Encode what changed with the checkpoint `name`, build all indexes and publish them.

    Before any training, 'default' is what `pipeline.encoder` finds: a text encoder on this machine,
    or nothing, and items are found by their words alone.

    Text vectors of new and changed items are made first, if the encoder of the others is on this
    machine. `tell` gets a sentence on that, one on each thing that is stale, one on each space in
    which items are not found by their own vectors, and one on the export of the query encoder for
    ONNX Runtime, which is written if there is none.

    Returns the number of the generation, which is live. `options` are settings of [index].

    Raises:
        NotReady: nothing was imported yet, or there is no checkpoint of this name.
        Busy: another process is building.
        InputError: vectors of the catalogue do not fit the encoder.
        Corrupt: the checkpoint is damaged.
    """
    from omnisearch.indexer.build import build

    return _publish(build, workspace, name, progress, tell, options)


def rebuild_index(
    workspace: WorkspaceLike,
    name: str = "default",
    progress: Progress | None = None,
    tell: Tell | None = None,
    **options: Any,
) -> int:
    """Like `build_index`, but encodes every item again."""
    from omnisearch.indexer.build import rebuild

    return _publish(rebuild, workspace, name, progress, tell, options)


def update_index(
    workspace: WorkspaceLike,
    name: str = "default",
    progress: Progress | None = None,
    tell: Tell | None = None,
    **options: Any,
) -> int:
    """Like `build_index`, but applies the catalogue's changes to the live generation.

    Only what changed is read. If nothing did, nothing is published, and the live generation's
    number is returned.
    """
    from omnisearch.data.workspace.settings import load_section
    from omnisearch.encoders.light import light_encoder
    from omnisearch.indexer.publish import BuildOptions
    from omnisearch.indexer.update import changed_items, update
    from omnisearch.pipeline.encoder import encoder_for
    from omnisearch.pipeline.exporting import export_if_needed
    from omnisearch.pipeline.stale import mend

    with opened(workspace) as (space, db):
        chosen = load_section("index", BuildOptions(), space.settings, options)
        tell = tell or (lambda _: None)
        encoder: ItemsAndQueries
        if space.best_checkpoint(name).exists():
            encoder = light_encoder(space, name)
        else:
            encoder = encoder_for(space, db, name, progress, tell)
        for sentence in mend(space, db, progress, changed_items(space, db)):
            tell(sentence)
        number = update(space, db, encoder, chosen, progress)
        if exported := export_if_needed(space, db, quick=True):
            tell(exported)
        return number


def train_ads(
    workspace: WorkspaceLike, progress: Progress | None = None, **options: Any
) -> AdModels:
    """Learn the models of ads from the log and the judgments, and make them live.

    Their `report` says what they learned from and how well calibrated they are. Open engines load
    them by `reload`. `progress` counts queries. `options` are settings of [rank].

    Raises:
        NotReady: no generation yet. Corrupt: a file of it is damaged.
        NothingToLearn: neither the log nor the judgments have enough.
    """
    from omnisearch.data.catalogue.learned_from import rankers_learn_from
    from omnisearch.data.workspace.settings import load_section
    from omnisearch.engine.ad_training import train_ad_models
    from omnisearch.engine.ads.models import save_models
    from omnisearch.engine.config import engine_config
    from omnisearch.engine.query_embeddings.cache import QueryCache
    from omnisearch.engine.ranking_data import RankingOptions
    from omnisearch.engine.search import SearchEngine
    from omnisearch.engine.snapshot import open_snapshot

    with opened(workspace, writing=True) as (space, db):
        chosen = load_section("rank", RankingOptions(), space.settings, options)
        learned_from = rankers_learn_from(db)  # first: what comes in meanwhile is new
        # Models of ads that are there may be damaged; this training replaces them.
        snapshot = open_snapshot(space, "tantivy", with_rankers=False, with_ads=False)
        config = engine_config(space)
        engine = SearchEngine(space, snapshot, QueryCache.open_default(space, config), config)
        try:
            models = train_ad_models(engine, db, chosen, progress)
        finally:
            engine.close()
    if models.engagement is None and models.relevance is None:
        raise NothingToLearn(
            "There is too little to learn the models of ads from: too few long clicks in the days "
            "after the end of training, and too few judgments.",
            where=str(space.catalogue),
            how="Import a longer log or judgments. Without models ads are ordered by their bids.",
        )
    models.report["checkpoint"] = snapshot.generation.checkpoint
    models.report["learned_from"] = learned_from
    save_models(space, models)
    return models


def train_rankers(
    workspace: WorkspaceLike, progress: Progress | None = None, **options: Any
) -> tuple[Rankers, Path | None]:
    """Collect candidates with the live generation, train L1 and L2, and make them live.

    Returns the rankers and their folder, or None for the folder: the rankers order held-out queries
    worse than simpler orders do, and are not made live. Their `report` says what they learned from
    and how rankers trained on a part of it order the rest. Open engines load them by `reload`.
    `progress` counts queries, and from 0 again the models fitted. `options` are settings of [rank].

    Raises:
        NotReady: no generation yet.
        NothingToLearn: neither a log after the end of training nor judgments.
        Corrupt: a file of the generation or the checkpoint is damaged.
    """
    from omnisearch.data.catalogue.learned_from import rankers_learn_from
    from omnisearch.data.workspace.settings import load_section
    from omnisearch.engine.config import engine_config
    from omnisearch.engine.query_embeddings.cache import QueryCache
    from omnisearch.engine.ranking_data import RankingOptions, collect
    from omnisearch.engine.search import SearchEngine
    from omnisearch.engine.snapshot import open_snapshot
    from omnisearch.ranker import published, training
    from omnisearch.ranker.network import NetworkOptions

    with opened(workspace, writing=True) as (space, db):
        chosen = load_section("rank", RankingOptions(), space.settings, options)
        learned_from = rankers_learn_from(db)  # first: what comes in meanwhile is new
        # Existing rankers may be damaged; this training replaces them.
        snapshot = open_snapshot(space, "tantivy", with_rankers=False)
        config = engine_config(space)
        engine = SearchEngine(space, snapshot, QueryCache.open_default(space, config), config)
        try:
            data = collect(engine, db, chosen, progress)
        finally:
            engine.close()
    if not len(data):
        raise NothingToLearn(
            "There is nothing to train the rankers on: no engagement in the days after the end of "
            "training that the features have not seen, and no judged queries but those kept for "
            "evaluation.",
            where=str(space.catalogue),
            how="Import a longer log or judgments; enrich without `--until now` before training "
            "rankers.",
        )
    network = NetworkOptions(word_weight=snapshot.generation.word_weight)
    rankers = training.train_rankers(data, training.RankerConfig(network), progress)
    rankers.report["checkpoint"] = snapshot.encoder.checkpoint
    rankers.report["learned_from"] = learned_from
    return rankers, published.save_rankers(space, rankers) if rankers.order else None


def teach(
    workspace: WorkspaceLike, backbone: str | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Train a cross-encoder on the judgments, and let it grade what nobody judged.

    `train_rankers` then learns from its grades too. A teacher of the same judgments is not trained
    again, and what it has graded stays. `progress` counts the steps of its training, and from 0
    again the pairs graded.

    Args:
        backbone: folder or hub name of an encoder or a cross-encoder, or 'minilm' (English); by
            default the encoder of the items' text, as it was before it was tuned, else MiniLM.

    Returns:
        Counts, what was `left_out` and why, and the teacher's nDCG@10 on held-out queries beside
        that of the order before it. If it is not `better`, its grades are not used.

    Raises:
        NotReady: no generation yet, or too few judged queries.
        InputError: the backbone does not exist.
        Corrupt: a file is damaged.
    """
    from omnisearch.pipeline.teaching import run

    with opened(workspace, writing=True) as (space, db):
        return run(space, db, backbone, progress)


def export_teacher(workspace: WorkspaceLike) -> tuple[dict[str, Any], Path]:
    """Write the current teacher for ONNX Runtime; returns its `export.json` and its folder.

    Raises:
        NotReady: there is no teacher.
        Corrupt: a file is damaged.
    """
    from omnisearch.pipeline.teaching import export

    with opened(workspace, writing=True) as (space, db):
        return export(space, db)


def evaluate(
    workspace: WorkspaceLike, progress: Progress | None = None, **options: Any
) -> Evaluation:
    """Recall@10 of every space, and metrics of every system, on data that training never saw.

    On a sample world, systems are also measured by what is true of its items and queries.

    `options` are fields of `evaluation.evaluate.EvaluateOptions`, such as `queries=500`.

    Raises:
        NotReady: there is no generation yet, or enrichment has read past the end of training.
        InputError: an unknown system.
        Corrupt: a file is damaged.
    """
    from omnisearch.engine.search import SearchEngine
    from omnisearch.evaluation.evaluate import EvaluateOptions
    from omnisearch.evaluation.evaluate import evaluate as measure
    from omnisearch.world.truth import Truth

    with opened(workspace) as (space, db):
        engine = SearchEngine.open(space)
        try:
            truth = Truth.read(space.truth) if space.truth.exists() else None
            return measure(engine, db, EvaluateOptions(**options), progress, truth)
        finally:
            engine.close()


def _publish(
    how: Any,
    workspace: WorkspaceLike,
    name: str,
    progress: Progress | None,
    tell: Tell | None,
    options: dict[str, Any],
) -> int:
    from omnisearch.data.catalogue.schema import ITEM_ENTITIES
    from omnisearch.data.workspace.artefacts import read_manifest
    from omnisearch.data.workspace.settings import load_section
    from omnisearch.indexer.build import BuildOptions
    from omnisearch.indexer.loading.status import in_cluster
    from omnisearch.indexer.parts.recall import recall_sentences
    from omnisearch.indexer.segment import GENERATION, QDRANT
    from omnisearch.pipeline.encoder import encoder_for
    from omnisearch.pipeline.exporting import export_if_needed
    from omnisearch.pipeline.stale import mend

    with opened(workspace) as (space, db):
        chosen = load_section("index", BuildOptions(), space.settings, options)
        tell = tell or (lambda _: None)
        encoder = encoder_for(space, db, name, progress, tell)
        for sentence in mend(space, db, progress):
            tell(sentence)
        number: int = how(space, db, encoder, chosen, progress)
        manifest = read_manifest(space.generation(number), GENERATION)
        if not any(manifest["entities"][entity]["rows"] for entity in ITEM_ENTITIES):
            tell("The catalogue has no items, so nothing is found. Run `omnisearch import FILES`.")
        for sentence in recall_sentences(manifest["spaces"]):
            tell(sentence)
        if chosen.backend == QDRANT:
            tell(in_cluster(space, manifest["segments"][0]))
        if exported := export_if_needed(space, db):
            tell(exported)
        return number
