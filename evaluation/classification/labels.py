"""The labels file: queries and their taxonomy nodes, validated row by row and split by query."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from omnisearch.data.importers.datasets.labels import hash_share
from omnisearch.data.importers.readers import open_source
from omnisearch.data.importers.source import Row
from omnisearch.data.importers.value_checks import Refused, text
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace.errors import InputError

SEPARATOR = " > "
FIELDS = ("query", "label")
_MAX_LEVELS = 16
_PARTS = {"train": (0.0, 0.7), "valid": (0.7, 0.8), "test": (0.8, 1.0)}  # of the hash


@dataclass(frozen=True)
class Refusal:
    """A rejected row."""

    line: int
    field: str
    reason: str


@dataclass(frozen=True)
class Labels:
    """Queries with their nodes of a taxonomy.

    A label `people > adults` names two nodes, `people` and `people > adults`: a node is its whole
    path, so equal words under different parents are different nodes.

    Attributes:
        queries: n different normalised texts, sorted.
        nodes: m paths, ordered by level, then by name.
        levels: for each level, its columns in `nodes`; levels[0] is level 1.
        targets: (n, m) bool, which nodes each query has.
        refused: the rejected rows.
    """

    queries: list[str]
    nodes: list[str]
    levels: list[slice]
    targets: csr_matrix
    refused: list[Refusal]

    def part(self, name: str) -> np.ndarray:
        """(k,) int64 rows of 'train', 'valid' or 'test': 70, 10 and 20% by a hash of the text.

        The importers hold out the same queries, so a query whose derived engagement an encoder
        was trained on is never a test query here.
        """
        low, high = _PARTS[name]
        return np.flatnonzero([low <= hash_share(query) < high for query in self.queries])


def read_labels(path: Path) -> Labels:
    """Read CSV, TSV, JSONL or Parquet with the columns `query` and `label`.

    A query may have several rows, one per label. The levels of a label are separated by " > ".
    Invalid rows are rejected and the others kept.

    Raises:
        InputError: the file cannot be read, lacks a column, or has no valid row.
    """
    source = open_source(path)
    missing = [name for name in FIELDS if source.columns is not None and name not in source.columns]
    if missing:
        raise InputError(
            f"The labels have no column {missing[0]!r}.",
            where=str(path),
            how='The columns are `query` and `label`, such as "oak table" and "home > tables".',
        )
    taken: list[tuple[str, list[str]]] = []
    refused: list[Refusal] = []
    for row in source.rows:
        try:
            taken.append(_row(row))
        except Refused as error:
            refused.append(Refusal(row.line, error.field, error.reason))
    if not taken:
        first = refused[0] if refused else Refusal(1, "", "the file holds no rows")
        raise InputError(
            f"The file has no valid row: {first.field} {first.reason}.",
            where=f"{path}, line {first.line}",
        )
    return labels_of(taken, refused)


def _row(row: Row) -> tuple[str, list[str]]:
    if row.values is None:
        raise Refused(row.field, row.error or "cannot be read")
    query = normalise_query(text(row.values.get("query"), "query") or "")
    label = text(row.values.get("label"), "label")
    if not query:
        raise Refused("query", "is missing")
    if label is None:
        raise Refused("label", "is missing")
    path = [" ".join(level.split()) for level in label.split(SEPARATOR.strip())]
    if not all(path):
        raise Refused("label", "has an empty level")
    if len(path) > _MAX_LEVELS:
        raise Refused("label", f"has more than {_MAX_LEVELS} levels")
    return query, path


def labels_of(rows: Iterable[tuple[str, list[str]]], refused: list[Refusal]) -> Labels:
    """Labels from (normalised query, path) pairs."""
    of_query: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for query, path in rows:
        of_query[query].update(tuple(path[:depth]) for depth in range(1, len(path) + 1))
    queries = sorted(of_query)
    paths = sorted(set().union(*of_query.values()), key=lambda path: (len(path), path))
    column = {path: number for number, path in enumerate(paths)}
    depths = np.array([len(path) for path in paths])
    levels = [
        slice(int(np.searchsorted(depths, level)), int(np.searchsorted(depths, level, "right")))
        for level in range(1, int(depths.max()) + 1)
    ]
    columns = [sorted(column[path] for path in of_query[query]) for query in queries]
    starts = np.concatenate(([0], np.cumsum([len(row) for row in columns])))
    flat = np.concatenate(columns)
    targets = csr_matrix((np.ones(len(flat), bool), flat, starts), (len(queries), len(paths)))
    return Labels(queries, [SEPARATOR.join(path) for path in paths], levels, targets, refused)
