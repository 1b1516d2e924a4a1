"""Trains and measures one model of a table with one seed; results are kept, runs resumable."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import orjson
import sqlite_utils

from omnisearch.data.catalogue.items import read_items
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, open_catalogue
from omnisearch.data.catalogue.spaces import spaces_of
from omnisearch.data.catalogue.vectors import open_all_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, NotReady
from omnisearch.data.workspace.files import new_folder
from omnisearch.data.workspace.memory import trim_memory
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.encoders.config import Config
from omnisearch.encoders.encoder import Encoder
from omnisearch.encoders.training.run import train
from omnisearch.evaluation.recall import exact_ranks
from omnisearch.evaluation.reproduce.base import copy_workspace, with_fields
from omnisearch.evaluation.reproduce.worlds import AnyColumn, Graded, ceilings
from omnisearch.world.truth import Truth

K = 10
CORPUS = 1_500_000
# '<space>:<column>' → (pairs,) which were found, or (queries,) nDCG@10
Hits = dict[str, np.ndarray]
MEASURED = 2  # counted up when what is measured changes: runs measured before are repeated
QUERIES_AT_ONCE = 256


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        fields: the text fields that items keep; None for all.
        config: the training's config, including its seed.
        data: the name of the base that it trains on.
    """

    fields: tuple[str, ...] | None
    config: Config
    data: str = "base"

    @property
    def key(self) -> str:
        """The run's key: identical trainings of different tables share one run."""
        fields = None if self.fields is None else sorted(self.fields)
        return key_of([MEASURED, self.data, fields, asdict(self.config)])


def key_of(values: Any) -> str:
    """A short hash of plain values."""
    content = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def run_hits(
    folder: Path,
    base: Workspace,
    columns: Mapping[str, AnyColumn],
    run: Run,
    on_step: Callable[[Any], None] | None = None,
) -> Hits:
    """Which pairs of every column the run's model ranks in its top ten, in either space.

    Of a graded column nDCG@10 of each query.

    A finished run is read from `folder/runs`; otherwise the model is trained in `folder/work`,
    where an interrupted training resumes from its last checkpoint.

    Raises:
        Corrupt: a finished run cannot be read.
        NotReady: there is no training data.
    """
    place = folder / "runs" / run.key
    if not place.exists():
        workspace = _workspace(folder / "work" / run.key, base, run)
        with closing(open_catalogue(workspace.catalogue)) as db:
            try:
                train(workspace, db, run.config, resume=True, on_step=on_step)
            except NotReady:
                shutil.rmtree(workspace.root)
                raise
            found = _measure(workspace, db, load_encoder(workspace), columns)
        trim_memory()
        keep(place, found, asdict(run))
        shutil.rmtree(workspace.root)
    return kept(place)


def ceiling_hits(folder: Path, data: str, columns: Mapping[str, AnyColumn], truth: Truth) -> Hits:
    """Column → its `ceilings`, computed once and kept in `folder/runs`; raises as `run_hits`."""
    place = folder / "runs" / key_of([MEASURED, data, "ceilings"])
    if not place.exists():
        keep(place, ceilings(truth, columns), {"ceilings": data})
    return kept(place)


def keep(place: Path, found: Hits, about: dict[str, Any]) -> None:
    """Write what was measured as a folder that later calls read."""
    with new_folder(place) as unfinished:
        np.savez_compressed(unfinished / "hits.npz", **found)  # type: ignore[arg-type]
        (unfinished / "run.json").write_bytes(orjson.dumps(about))


def kept(place: Path) -> Hits:
    """What `keep` wrote; raises Corrupt."""
    try:
        with np.load(place / "hits.npz", allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise Corrupt(
            f"A finished run cannot be read ({error}).",
            where=str(place),
            how="Delete that folder to repeat the run.",
        ) from error


def _workspace(folder: Path, base: Workspace, run: Run) -> Workspace:
    """The run's own copy of the base, with only the fields it may use."""
    if not folder.exists():
        with new_folder(folder) as unfinished:
            if run.fields is None:
                copy_workspace(base, unfinished)
            else:
                with_fields(base, unfinished, run.fields)
    return Workspace.open(folder)


def _measure(
    workspace: Workspace,
    db: sqlite_utils.Database,
    encoder: Encoder,
    columns: Mapping[str, AnyColumn],
) -> Hits:
    texts = sorted({query for column in columns.values() for query in column.queries})
    row_of_text = {text: row for row, text in enumerate(texts)}
    asked = encoder.queries(texts)
    found: Hits = {}
    for entity in (*ITEM_ENTITIES, "query"):
        mine = {name: column for name, column in columns.items() if column.entity == entity}
        for space, (ids, vectors) in (
            entity_vectors(workspace, db, encoder, entity).items() if mine else ()
        ):
            row_of = {key: row for row, key in enumerate(ids)}
            # Each column has its own seed, so its figure does not depend on the other columns.
            corpus = np.sort(np.random.default_rng(0).permutation(len(ids))[:CORPUS])
            for name, column in mine.items():
                queries = asked[[row_of_text[query] for query in column.queries]]
                if isinstance(column, Graded):
                    first = first_rows(queries, vectors)
                    ranked = [[ids[row] for row in rows] for rows in first.tolist()]
                    found[f"{space}:{name}"] = column.values(ranked)
                    continue
                targets = np.array([row_of.get(key, -1) for _, key in column.pairs])
                own = np.array([row_of.get(query, -1) for query, _ in column.pairs])
                skip = own if entity == "query" else None
                ranks = exact_ranks(queries, targets, vectors, corpus, skip)
                found[f"{space}:{name}"] = ranks <= K
    return found


def first_rows(queries: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(q, K) int64 rows of `vectors` (n, dim) with the highest dot products, best first."""
    parts = [np.zeros((0, min(K, len(vectors))), np.int64)]
    for low in range(0, len(queries), QUERIES_AT_ONCE):
        scores = -(queries[low : low + QUERIES_AT_ONCE] @ vectors.T)
        near = np.sort(np.argpartition(scores, min(K, len(vectors)) - 1, axis=1)[:, :K], axis=1)
        order = np.argsort(np.take_along_axis(scores, near, 1), axis=1, kind="stable")
        parts.append(np.take_along_axis(near, order, 1))
    return np.concatenate(parts)


def entity_vectors(
    workspace: Workspace, db: sqlite_utils.Database, encoder: Encoder, entity: str
) -> dict[str, tuple[list[str], np.ndarray]]:
    """Space ('learned', 'compat') → ids and (n, dim) vectors of all entities of a type with a
    vector in that space."""
    if entity == "query":
        rows = db.conn.execute("SELECT id FROM queries ORDER BY id")
        ids = [key for (key,) in rows]
        vectors = encoder.queries(ids)
        return {"learned": (ids, vectors), "compat": (ids, vectors)}
    features = open_all_vectors(workspace, db, entity)
    spaces = {}
    if encoder.config.weight_learned:
        ids, parts = [], []
        for batch in read_items(db, entity):
            keys = [item["id"] for item in batch]
            named = {name: f.rows(keys)[0] for name, f in features.items()}
            parts.append(encoder.items(batch, named))
            ids += keys
        spaces["learned"] = (ids, np.concatenate(parts))
    feature = features.get(spaces_of(entity)[0])
    if feature is not None and feature.name in encoder.compat_spaces:
        vectors = encoder.compat(feature.name, feature.vectors)
        spaces["compat"] = (feature.ids, vectors)
    return spaces
