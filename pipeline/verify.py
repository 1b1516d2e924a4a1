"""Whether everything in a workspace is whole: every file with a hash, every array, every table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from omnisearch.data.catalogue.campaigns import load_campaigns
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.soft_labels import TEACHER
from omnisearch.data.catalogue.vectors import check_item_vectors
from omnisearch.data.catalogue.verify import catalogue_notes, check_catalogue, check_sqlite
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import pointed, read_manifest, verified
from omnisearch.data.workspace.errors import OmniError
from omnisearch.encoders.checkpoint import CHECKPOINT, load_encoder, load_parts, load_state
from omnisearch.encoders.checkpoint import verify as verify_checkpoint
from omnisearch.encoders.no_encoder import NONE
from omnisearch.encoders.onnx import reranker
from omnisearch.encoders.onnx.query_tower import EXPORT, OnnxQueries
from omnisearch.encoders.text_encoder import TUNED
from omnisearch.engine.ads.models import load_models
from omnisearch.engine.rules.published import RULES
from omnisearch.engine.snapshot import trained_encoder
from omnisearch.enrichment.graph.itemsage import network as itemsage
from omnisearch.enrichment.graph.pinsage import network as pinsage
from omnisearch.enrichment.graph.saved_networks import load as load_network
from omnisearch.evaluation.classification.classifier_file import read_classifier
from omnisearch.evaluation.experiments.store import every, key_of
from omnisearch.evaluation.judging.answers import all_answers
from omnisearch.evaluation.judging.folder import Judging
from omnisearch.indexer.generation import Generation, folder_of, live_number
from omnisearch.indexer.loading.builds import problems_of_build
from omnisearch.indexer.segment import GENERATION, QDRANT
from omnisearch.indexer.signals import SIGNALS, read_signals
from omnisearch.indexer.verify import backend_of, read_whole
from omnisearch.ranker.published import load_rankers
from omnisearch.world.truth import Truth

_CACHES = "Delete it; its content is computed again."
_LOG = "Put back a copy, or move the file away; the service starts a new one."
_NETWORKS = {"pinsage": pinsage, "itemsage": itemsage}

Check = Callable[[], object]  # raises an OmniError, or returns a list of problems or anything else


@dataclass(frozen=True)
class Verified:
    """What `verify_workspace` found.

    Attributes:
        checked: what was checked, in order.
        problems: a sentence for each, with its file and what to do.
        notes: what is no problem, but good to know.
    """

    checked: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def verify_workspace(workspace: Workspace, number: int | None = None) -> Verified:
    """Check all artefacts of a workspace, and the generation `number` (the live one by default).

    Files are compared with their hashes, opened as they are for use, and read to their end.

    Raises:
        NotReady: there is no generation of that number.
    """
    if number is not None:
        folder_of(workspace, number)
    found = Verified()
    for name, check in _checks(workspace, number):
        found.checked.append(name)
        try:
            problems = check()
        except OmniError as error:
            problems = [str(error)]
        found.problems.extend(problems if isinstance(problems, list) else [])
    if not found.problems:
        found.notes.extend(catalogue_notes(workspace.catalogue))
    return found


def _checks(workspace: Workspace, number: int | None) -> Iterator[tuple[str, Check]]:
    yield "catalogue", partial(check_catalogue, workspace.catalogue)
    yield "item vectors", partial(_item_vectors, workspace)
    for path, how in (
        (workspace.feedback, _LOG),
        (workspace.searches, _LOG),
        (workspace.text_cache, _CACHES),
        (workspace.image_cache, _CACHES),
        (workspace.query_cache, _CACHES),
        (workspace.soft_labels, _CACHES),
    ):
        if path.exists():
            yield path.name, partial(check_sqlite, path, how)
    for name in _names(workspace.text_encoders):
        yield f"text encoder {name}", partial(verified, workspace.text_encoders / name, TUNED)
    for name in _names(workspace.teachers):
        yield f"teacher {name}", partial(verified, workspace.teachers / name, TEACHER)
    if workspace.reranker.exists():
        yield "reranker", partial(_reranker, workspace.reranker)
    for name in _names(workspace.graph):
        yield f"graph network {name}", partial(_network, workspace, name)
    for name in _names(workspace.checkpoints):
        if workspace.best_checkpoint(name).exists():
            yield f"encoder {name}", partial(load_encoder, workspace, name)
        if workspace.last_checkpoint(name).exists():
            yield f"last checkpoint of {name}", partial(_last, workspace.last_checkpoint(name))
    for name in _names(workspace.exports):
        yield f"export of {name}", partial(_export, workspace.export(name))
    for name in _names(workspace.signals):
        yield f"signals of {name}", partial(_signals, workspace.current_signals(name))
    if number is not None or workspace.current.exists():
        yield "generation", partial(_generation, workspace, number)
        if _is_clustered(workspace, number):
            yield "cluster", partial(_cluster, workspace, number)
    if workspace.current_rankers.exists():
        yield "rankers", partial(load_rankers, workspace)
    for name in _names(workspace.rules):
        yield f"rules, version {name}", partial(verified, workspace.rules / name, RULES)
    if workspace.ads.exists():
        yield "campaigns", partial(load_campaigns, workspace)
        yield "models of ads", partial(load_models, workspace)
    if workspace.experiments.exists():
        yield "experiments", partial(_experiments, workspace)
    if workspace.truth.exists():
        yield "truth of the sample world", partial(Truth.read, workspace.truth)
    for path in sorted(workspace.classifiers.glob("[!.]*.safetensors")):
        yield f"classifier {path.stem}", partial(read_classifier, workspace, path.stem)
    for name in _names(workspace.judging):
        yield f"judging {name}", partial(_judging, workspace, name)


def _experiments(workspace: Workspace) -> None:
    every(workspace)
    key_of(workspace)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("[!.]*") if path.is_dir())


def _item_vectors(workspace: Workspace) -> list[str]:
    db = open_catalogue(workspace.catalogue)
    with closing(db.conn):
        return check_item_vectors(workspace, db)


def _network(workspace: Workspace, name: str) -> None:
    saved = load_network(workspace, name)
    if saved is not None and name in _NETWORKS:
        _NETWORKS[name](saved)


def _last(pointer: Path) -> None:
    folder = pointed(pointer, CHECKPOINT)
    if folder is not None:
        verify_checkpoint(folder)
        load_parts(folder)
        if (folder / "training").exists():
            load_state(folder)


def _export(folder: Path) -> None:
    verified(folder, EXPORT)
    OnnxQueries(folder)


def _reranker(folder: Path) -> None:
    verified(folder, reranker.EXPORT)
    reranker.Reranker(folder)


def _signals(pointer: Path) -> None:
    folder = pointed(pointer, SIGNALS)
    if folder is not None:
        read_signals(folder)


def _generation(workspace: Workspace, number: int | None) -> None:
    generation = Generation.open(workspace, number)
    read_whole(generation)
    if generation.checkpoint != NONE:
        trained_encoder(workspace, generation)


def _is_clustered(workspace: Workspace, number: int | None) -> bool:
    try:
        return backend_of(workspace, _build(workspace, number)) == QDRANT
    except (OmniError, LookupError, TypeError):  # damaged: the check of the generation says so
        return False


def _build(workspace: Workspace, number: int | None) -> int:
    """The build of a generation, the live one by default."""
    chosen = live_number(workspace) if number is None else number
    return int(read_manifest(folder_of(workspace, chosen), GENERATION)["segments"][0])


def _cluster(workspace: Workspace, number: int | None) -> list[str]:
    return problems_of_build(workspace, _build(workspace, number), whole=True)


def _judging(workspace: Workspace, name: str) -> None:
    judging = Judging.open(workspace, name)
    _ = judging.design, judging.queries, judging.pairs, judging.shown
    all_answers(judging)
