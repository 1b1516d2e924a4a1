"""Hostile files under hashes that are right: refused with the file's name, or without effect.

Each case replaces one file of a small workspace by a variant of another type, shape or range,
writes its manifest anew, and opens and uses the artefact. It must raise Corrupt, or answer as the
whole workspace does: no traceback, no crash, no memory taken for what a header claims.
"""

from __future__ import annotations

import random
import re
import resource
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import hostile
import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

from omnisearch import pipeline
from omnisearch.cli.main import app
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import Kind, read_pointer
from omnisearch.data.workspace.errors import Corrupt, NotReady
from omnisearch.encoders.checkpoint import CHECKPOINT, load_encoder
from omnisearch.encoders.onnx.export import export_query_tower
from omnisearch.encoders.onnx.query_tower import EXPORT, OnnxQueries
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.query_embeddings.cache import QueryCache
from omnisearch.engine.searcher import Searcher
from omnisearch.engine.snapshot import Snapshot, data_time
from omnisearch.enrichment.graph.pinsage import network
from omnisearch.enrichment.graph.pinsage_network import PinSage
from omnisearch.enrichment.graph.saved_networks import NETWORK, Saved, load, save
from omnisearch.evaluation.classification.classifier import Classifier, Settings
from omnisearch.evaluation.classification.classifier_file import (
    Stored,
    guesses,
    read_classifier,
    write_classifier,
)
from omnisearch.indexer.generation import Generation
from omnisearch.indexer.segment import GENERATION
from omnisearch.indexer.signals import SIGNALS, read_signals
from omnisearch.indexer.verify import read_whole, status
from omnisearch.pipeline.verify import verify_workspace
from omnisearch.ranker import training
from omnisearch.ranker.published import RANKERS, load_rankers

FIRST = Path(__file__).parents[1] / "workspaces" / "first-edition"
QUERIES = ["blue curtain", "wooden chair", "sofa"]
MEMORY = 800  # MiB that all cases together may take

Cases = Iterator[tuple[str, Callable[[], object]]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A small workspace with an artefact of every kind."""
    workspace = Workspace(tmp_path_factory.mktemp("hostile") / "whole")
    shutil.copytree(FIRST, workspace.root)
    open_catalogue(workspace.catalogue).conn.close()
    shutil.rmtree(workspace.rankers)  # of features that are not computed any more
    pipeline.build_index(workspace)
    with patch.object(training, "chosen_order", lambda values: "l2"):  # of few queries, too
        pipeline.train_rankers(workspace)
    encoder = load_encoder(workspace)
    vocabulary, dims = encoder.index.vocabulary, {"image": 4}
    net = PinSage(len(vocabulary), dims, 16, 0, 1)
    config = {"dims": dims, "dim": 16, "seed": 0, "until": 9, "steps": 1}
    save(workspace, "pinsage", Saved(config, vocabulary, net.state_dict()))
    classifier = Classifier(encoder.dim, 0, 4)
    levels, nodes = [slice(0, 1), slice(1, 4)], ["a", "b", "c", "d"]
    stored = Stored(
        classifier, Settings(), encoder.dim, "default", encoder.checkpoint, nodes, levels
    )
    write_classifier(workspace, "kinds", stored)
    export_query_tower(workspace, encoder, QUERIES)
    db = open_catalogue(workspace.catalogue)
    with db.conn:  # the live generation has a segment of an update
        db.conn.execute("UPDATE products SET title = title || ' anew' WHERE id < 'product3'")
        db.conn.execute("DELETE FROM pins WHERE id = (SELECT MIN(id) FROM pins)")
    db.conn.close()
    pipeline.update_index(workspace)
    return workspace


@pytest.fixture(scope="module", autouse=True)
def no_memory_for_claims(whole: Workspace) -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10 < MEMORY


def each(
    whole: Workspace,
    tmp_path: Path,
    artefact: tuple[Path, Kind],
    names: list[str],
    use: Callable[[Workspace], object],
    most: int | None,
) -> Cases:
    """A case for each variant (`most` of them) of each file `names` of an artefact."""
    folder, kind = artefact
    where = folder.relative_to(whole.root)

    def act(name: str, content: bytes) -> object:
        workspace = hostile.copy_of(whole, tmp_path / "case", where)
        hostile.replace(workspace.root / where, kind, name, content)
        if kind is RANKERS:
            hostile.rename_rankers(workspace)
        return use(workspace)

    for name in names:
        found = list(hostile.variants(folder / name))
        for what, content in random.Random(name).sample(found, min(most or len(found), len(found))):
            yield f"{name}: {what}", partial(act, name, content)


def places(whole: Workspace) -> dict[str, tuple[Path, Kind]]:
    """Artefact → its folder and kind."""
    checkpoints, networks = whole.checkpoints / "default", whole.graph / "pinsage"
    return {
        "generation": (whole.generation(2), GENERATION),
        "update": (whole.generation(3), GENERATION),
        "signals": (next(whole.signals.glob("*/2")), SIGNALS),
        "encoder": (checkpoints / str(read_pointer(checkpoints / "BEST", CHECKPOINT)), CHECKPOINT),
        "export": (next(whole.exports.iterdir()), EXPORT),
        "network": (networks / str(read_pointer(networks / "CURRENT", NETWORK)), NETWORK),
        "rankers": (whole.rankers / str(read_pointer(whole.current_rankers, RANKERS)), RANKERS),
    }


def files_of(folder: Path, *without: str) -> list[str]:
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if not name.startswith(without))


class Use:
    """Uses of an artefact that read all of it; each gives the same for the same files."""

    def __init__(self, whole: Workspace) -> None:
        self._encoder = load_encoder(whole)
        self._rankers = load_rankers(whole)
        self.vectors = self._encoder.queries(QUERIES)

    def generation(self, workspace: Workspace) -> object:
        generation = Generation.open(workspace)
        read_whole(generation)
        return self._answers(generation, self._rankers)

    update = generation

    def rankers(self, workspace: Workspace) -> object:
        return self._answers(Generation.open(workspace, verify=False), load_rankers(workspace))

    def _answers(self, generation: Generation, rankers: Any) -> object:
        snapshot = Snapshot(generation, self._encoder, rankers, data_time(generation))
        searcher = Searcher(snapshot, QueryCache(Path("unused.db")), EngineConfig())
        found: list[object] = []
        for text, vector in zip(QUERIES, self.vectors, strict=True):
            query = snapshot.query(text).with_vector(vector)
            response = searcher.search(query, k=100, explain=True)
            for hit in response.hits:
                assert np.isfinite(hit.score)
                found.append((hit.entity, hit.id, round(hit.score, 4), hit.title))
            found += list(map(repr, response.related))
        return found

    def encoder(self, workspace: Workspace) -> object:
        encoder = load_encoder(workspace)
        item = {"title": "blue curtain", "id": "1"}
        vectors = np.concatenate(
            (encoder.queries([*QUERIES, "long " * 99]), encoder.items([item], {}))
        )
        assert np.isfinite(vectors).all()
        return vectors.round(4).tolist()

    def export(self, workspace: Workspace) -> object:
        vectors = OnnxQueries(workspace.export(self._encoder.checkpoint), 1).queries(QUERIES)
        # A bit of a weight that changes next to nothing is no wrong answer.
        return bool(((vectors * self.vectors).sum(axis=1) > 0.998).all())

    def network(self, workspace: Workspace) -> object:
        saved = load(workspace, "pinsage")
        assert saved is not None
        return {name: tensor.tolist() for name, tensor in network(saved).state_dict().items()}

    def classifier(self, workspace: Workspace) -> object:
        return guesses(read_classifier(workspace, "kinds"), self.vectors)

    @staticmethod
    def signals(workspace: Workspace) -> object:
        (checkpoint,) = workspace.signals.iterdir()
        found = read_signals(checkpoint / "2")
        return {
            entity: (part.ids, {name: rows.tolist() for name, rows in part.spaces.items()})
            for entity, part in found.items()
        }


@pytest.fixture(scope="module")
def use(whole: Workspace) -> Use:
    return Use(whole)


ARTEFACTS = ["generation", "update", "signals", "encoder", "export", "network", "rankers"]
# A few variants of each file; with -m slow all of them.
SOME = pytest.mark.parametrize("most", [3, pytest.param(None, marks=pytest.mark.slow)])
# What may change answers without being damage: a bit of a posting list, other settings of a
# tokeniser, another finite weight of a ranker.
MAY = re.compile(r".*(tantivy|tokenizer|engagement\.json|relevance\.json|l1\.json)")


@SOME
@pytest.mark.parametrize("what", ARTEFACTS)
def test_files(whole: Workspace, use: Use, tmp_path: Path, what: str, most: int | None) -> None:
    folder, kind = places(whole)[what]
    names = files_of(folder, kind.manifest, "encoder", "README")
    cases = each(whole, tmp_path, (folder, kind), names, getattr(use, what), most)
    bad = hostile.failures(cases, Corrupt, getattr(use, what)(whole))
    assert [each for each in bad if not (each.endswith("another result") and MAY.match(each))] == []


NAMES = ["../../catalogue.db", "/etc/passwd", "a\0b", "", ".", "n" * 5000, "n/" * 2000, "pin"]


@SOME
@pytest.mark.parametrize(
    "what", ["generation", "update", "encoder", "signals", "export", "network", "rankers"]
)
def test_manifests(whole: Workspace, use: Use, tmp_path: Path, what: str, most: int | None) -> None:
    folder, kind = places(whole)[what]
    where = (folder / kind.manifest).relative_to(whole.root)
    good = orjson.loads((whole.root / where).read_bytes())

    def used(content: bytes) -> object:
        workspace = hostile.copy_of(whole, tmp_path / "case", where)
        hostile.put(workspace.root / where, content)
        if kind is RANKERS:
            hostile.rename_rankers(workspace)
        status(workspace)
        return getattr(use, what)(workspace)

    found = list(hostile.variants(whole.root / where))
    for name in NAMES:
        files = good.get("files", {}) | {name: {"bytes": 1, "sha256": "0" * 64}}
        found.append((f"a file {name[:20]!r}", orjson.dumps(good | {"files": files})))
    cases = random.Random(0).sample(found, most * 3 if most else len(found))
    acts = ((name, partial(used, content)) for name, content in cases)
    # Times, and which rankers there are, are facts of their own: others are no damage.
    assert hostile.failures(acts, (Corrupt, NotReady), None) == []


@SOME
def test_classifiers(whole: Workspace, use: Use, tmp_path: Path, most: int | None) -> None:
    path = whole.classifier("kinds").relative_to(whole.root)
    content = (whole.root / path).read_bytes()
    arrays, metadata = hostile.read_tensors(content)
    facts = orjson.loads(metadata["classifier"])

    def act(content: bytes) -> object:
        workspace = hostile.copy_of(whole, tmp_path / "case", path)
        hostile.put(workspace.root / path, content)
        return use.classifier(workspace)

    found = list(hostile.variants(whole.root / path))
    for place in hostile.places(facts):
        for value in hostile.VALUES:
            described = hostile.changed(facts, place, value).decode()
            new = hostile.tensors(arrays, {"classifier": described})
            found.append((f"{place} = {value!r:.30}", new))
    chosen = random.Random(0).sample(found, 60 if most else len(found))
    acts = ((name, partial(act, content)) for name, content in chosen)
    bad = hostile.failures(acts, Corrupt, use.classifier(whole))
    # Nodes may have any names, and the settings of the training are only told.
    assert [each for each in bad if "another result" not in each or "nodes" not in each] == []


def test_verify_finds_what_opening_finds(whole: Workspace, tmp_path: Path) -> None:
    assert verify_workspace(whole).problems == []
    for what, place in (
        ("graph network pinsage", "graph/pinsage/*/config.json"),
        ("encoder default", "checkpoints/default/*/config.json"),
        ("export of", "exports/*/tokenizer.json"),
        ("signals of", "signals/*/2/pin-learned.npy"),
        ("generation", "generations/2/pin/display.jsonl"),
        ("rankers", "rankers/*/l1.json"),
        ("classifier kinds", "classifiers/kinds.safetensors"),
    ):
        workspace = hostile.copy_of(whole, tmp_path / what, Path(place))
        (path, *_) = sorted(workspace.root.glob(place))
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        hostile.put(path, bytes(content))
        found = verify_workspace(workspace)
        assert any(name.startswith(what) for name in found.checked)
        assert found.problems and all(str(workspace.root) in problem for problem in found.problems)
        assert any("`omnisearch" in each or "again" in each for each in found.problems)


def test_the_command_names_each_problem(whole: Workspace, tmp_path: Path) -> None:
    workspace = hostile.copy_of(whole, tmp_path / "case", Path("rankers"))
    runner, command = CliRunner(), ["index", "verify", "-w", str(workspace.root)]
    done = runner.invoke(app, command)
    assert done.exit_code == 0 and "All of it is whole." in done.output
    (path,) = workspace.rankers.glob("*/l1.json")
    hostile.put(path, b"{}")
    hostile.put(workspace.current, b"\xff\n")
    done = runner.invoke(app, command)
    assert done.exit_code == 4 and "Problems: 2." in done.output
    assert str(path) in done.output and "omnisearch rank train" in done.output
    done = runner.invoke(app, [*command, "--json"])
    data = orjson.loads(done.stdout)["data"]
    assert done.exit_code == 4 and len(data["problems"]) == 2 and "rankers" in data["checked"]
    with pytest.raises(NotReady, match="no generation 9"):
        runner.invoke(app, [*command, "--number", "9"], catch_exceptions=False)
