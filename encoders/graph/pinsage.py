"""A stand-in for PinSage (§3.3): pin vectors from the pin-board graph alone.

Two pins are near if random walks pin -> board -> pin -> .. from them meet the same pins. The walk
matrix of the bipartite graph, symmetrically normalised and less what a walk does by chance, is
factorised by a sparse SVD (correspondence analysis); each direction is weighted as a random walk
with restart weights it, by 1 / (1 - RESUME * s^2) for the singular value s. Boards are big or
small, but all weigh the same in a walk: a board of everything says little of each pin.

The real PinSage also reads pictures and text. Its vectors are imported under the same name.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import sqlite_utils

from data.features import Feature, write_feature
from data.pairs import feature_until
from data.workspace import Workspace
from encoders.graph.factorise import note_fit, truncated_svd, unit_rows

RESUME = 0.85  # the chance that a walk goes on at each step


def fit_pinsage(
    workspace: Workspace,
    db: sqlite_utils.Database,
    dim: int = 256,
    seed: int = 0,
    until: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Feature:
    """Fit the graph and write the feature 'pinsage' of pins: float32 (n, dim), unit rows.

    Boards' items saved at a known time count if that is before `until`, by default the end of
    training. Pins on no board, or only on boards of their own, are absent: nothing is known of
    them. Where the graph has fewer than `dim` directions the rest are zeros. Deterministic. An
    earlier 'pinsage' is replaced; without a usable graph nothing is written and the feature
    returned is empty.
    """
    until = feature_until(db) if until is None else until
    pins, graph = pin_board_graph(db, until)
    if progress:
        progress(1, 3)
    vectors = embed_graph(graph, dim, seed)
    if progress:
        progress(2, 3)
    rows, present = unit_rows(vectors, dim)
    if not len(rows):
        return Feature("pinsage", "pin", [], rows)
    ids = [pin for pin, there in zip(pins, present, strict=True) if there]
    feature = write_feature(workspace, db, "pinsage", "pin", ids, rows, replace=True)
    note_fit(db, feature, until)
    if progress:
        progress(3, 3)
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


def embed_graph(graph: sp.csr_matrix, dim: int, seed: int) -> np.ndarray:
    """(pins, r <= dim) float32 for the bipartite 0/1 matrix (pins, boards); rows not normalised."""
    if not graph.nnz:
        return np.zeros((graph.shape[0], 1), dtype=np.float32)
    of_pin = np.asarray(graph.sum(axis=1)).ravel()
    of_board = np.asarray(graph.sum(axis=0)).ravel()
    walk = sp.diags(of_pin**-0.5) @ graph @ sp.diags(of_board**-0.5)
    # The chance of a step if it ignored where it comes from: the trivial first factor.
    chance = np.sqrt(of_pin / of_pin.sum()), np.sqrt(of_board / of_pin.sum())
    factors = truncated_svd(walk.tocsr(), dim, seed, centre=chance)
    weights = 1.0 / np.sqrt(1.0 - RESUME * np.minimum(factors.values, 1.0) ** 2)
    return factors.rows * weights / np.sqrt(of_pin)[:, None]
