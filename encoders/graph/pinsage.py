"""A stand-in for PinSage (§3.3): pin vectors from random walks on the pin-board graph.

Two pins are near if random walks pin -> board -> pin -> .. from them come to the same boards. A
pin's vector is the distribution over boards at which its walk stops (a personalised PageRank with
WALKS steps, each RESUME times as likely as the one before), compressed by a seeded random
projection: `sum_k RESUME^k (D_pin^-1 A D_board^-1 A')^k D_pin^-1 A R` for the 0/1 matrix A of pins
and boards and the Gaussian R (boards, dim). Dot products of projected rows approximate those of
the rows. R's rows shrink with the size of the board: a board of everything says little of each
pin. Nothing but sparse products is computed, so the cost grows with the number of saves.

PinSage starts from pictures: where pins have the continuous feature 'image', its centred, rotated
rows are added to the walks'. The real PinSage's vectors are imported under the same name.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import sqlite_utils

from data.features import Feature, open_feature, write_feature
from data.pairs import feature_until
from data.workspace import Workspace
from encoders.graph.factorise import note_fit

WALKS = 3
RESUME = 0.8  # higher: broader themes; lower: nearer neighbours
PICTURE = 0.7  # length of the picture's part beside the walk's 1
_BLOCK = 65_536


def fit_pinsage(
    workspace: Workspace,
    db: sqlite_utils.Database,
    dim: int = 256,
    seed: int = 0,
    until: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Feature:
    """Make and write the feature 'pinsage' of pins: float32 (n, dim), unit rows.

    Items saved to a board at a known time count if that is before `until`, by default the end of
    training. Pins that share no board with another and have no 'image' row are absent: nothing is
    known of them. The same seed gives the same vectors. An earlier 'pinsage' is replaced; where no
    pin gets a vector nothing is written and the feature returned is empty.
    """
    until = feature_until(db) if until is None else until
    pins, graph = pin_board_graph(db, until)
    if progress:
        progress(1, 4)
    vectors = walk_vectors(graph, dim, seed)
    if progress:
        progress(2, 4)
    pictures = open_feature(workspace, db, "image", "pin")
    if pictures is not None and len(pictures.ids):
        pins, vectors = _add_pictures(pins, vectors, pictures, seed)
    if progress:
        progress(3, 4)
    if not pins:
        return Feature("pinsage", "pin", [], np.zeros((0, dim), dtype=np.float32))
    _scale_rows(vectors)
    feature = write_feature(workspace, db, "pinsage", "pin", pins, vectors, replace=True)
    note_fit(db, feature, until)
    if progress:
        progress(4, 4)
    return feature


def pin_board_graph(db: sqlite_utils.Database, until: int) -> tuple[list[str], sp.csr_matrix]:
    """Ids of the pins on shared boards, and the 0/1 float32 matrix (pins, boards).

    Boards of one pin lead a walk nowhere else and are left out.
    """
    cursor = db.conn.execute(
        "SELECT item_id, board_id FROM board_items WHERE entity = 'pin' "
        "AND (added_at IS NULL OR added_at < ?) AND item_id IN (SELECT id FROM pins) "
        "ORDER BY item_id, board_id",
        [until],
    )
    pins: dict[str, int] = {}
    boards: dict[str, int] = {}
    rows, columns = array("i"), array("i")
    for pin, board in cursor:
        rows.append(pins.setdefault(pin, len(pins)))
        columns.append(boards.setdefault(board, len(boards)))
    ones = np.ones(len(rows), dtype=np.float32)
    where = np.array(rows, dtype=np.int32), np.array(columns, dtype=np.int32)
    graph = sp.csr_matrix((ones, where), shape=(len(pins), len(boards)))
    graph = graph[:, graph.getnnz(axis=0) > 1]
    there = graph.getnnz(axis=1) > 0
    return [pin for pin, kept in zip(pins, there, strict=True) if kept], graph[there]


def walk_vectors(graph: sp.csr_matrix, dim: int, seed: int) -> np.ndarray:
    """(pins, dim) float32 unit rows for the 0/1 matrix (pins, boards), every row and column used.

    Each step is scaled to length 1 before it is weighted: averages over ever more boards shrink.
    """
    pins, boards = graph.shape
    vectors = np.zeros((pins, dim), dtype=np.float32)
    if not graph.nnz:
        return vectors
    of_board = np.asarray(graph.sum(axis=0)).ravel()
    to_board = sp.diags(1.0 / np.asarray(graph.sum(axis=1)).ravel()) @ graph
    to_pin = (sp.diags(1.0 / of_board) @ graph.T).tocsr().astype(np.float32)
    to_board = to_board.tocsr().astype(np.float32)
    state = np.random.default_rng(seed).standard_normal((boards, dim), dtype=np.float32)
    state /= np.sqrt(of_board).astype(np.float32)[:, None]
    for step in range(WALKS):
        reached = to_board @ state
        state = to_pin @ reached
        _scale_rows(reached)
        vectors += np.float32(RESUME**step) * reached
    _scale_rows(vectors)
    return vectors


def _add_pictures(
    pins: list[str], walks: np.ndarray, pictures: Feature, seed: int
) -> tuple[list[str], np.ndarray]:
    """Ids and (n, dim) float32 rows of all pins with a walk, a picture, or both."""
    dim = walks.shape[1]
    row_of = {pin: row for row, pin in enumerate(pins)}
    targets = np.array([row_of.setdefault(key, len(row_of)) for key in pictures.ids])
    vectors = np.zeros((len(row_of), dim), dtype=np.float32)
    vectors[: len(pins)] = walks
    rotation = _rotation(pictures.dim, dim, seed)
    mean = pictures.vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    for start in range(0, len(targets), _BLOCK):
        block = (pictures.vectors[start : start + _BLOCK] - mean) @ rotation
        _scale_rows(block)
        vectors[targets[start : start + _BLOCK]] += PICTURE * block
    told = np.linalg.norm(vectors, axis=1) > 1e-6  # one picture alone is its own mean
    return [pin for pin, kept in zip(row_of, told, strict=True) if kept], vectors[told]


def _rotation(size: int, dim: int, seed: int) -> np.ndarray:
    """(size, dim) float32: into `dim` dimensions with angles kept, nearly so where size > dim."""
    shape = (max(size, dim), min(size, dim))
    orthonormal = np.linalg.qr(np.random.default_rng([seed, 1]).standard_normal(shape))[0]
    return (orthonormal if size > dim else orthonormal.T).astype(np.float32)


def _scale_rows(vectors: np.ndarray) -> None:
    """Scale rows to length 1 in place; rows of zeros stay."""
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
