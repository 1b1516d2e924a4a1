"""Dense vectors from a sparse matrix: a truncated SVD by ARPACK, the same on every run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import sqlite_utils
from scipy.sparse.linalg import svds

from data.catalogue import set_meta
from data.features import Feature
from data.pairs import fit_note

# ARPACK finds fewer vectors than the smaller side has; a small matrix is decomposed whole.
_DENSE_SIDE, _DENSE_SIZE = 600, 20_000_000
_NOTHING = 1e-6


@dataclass(frozen=True)
class Factors:
    """The leading part of a singular value decomposition.

    Attributes:
        rows: (n, r) float32, left singular vectors.
        values: (r,) float32, singular values above 0, descending.
    """

    rows: np.ndarray
    values: np.ndarray


def truncated_svd(matrix: sp.csr_matrix, rank: int, seed: int) -> Factors:
    """The `rank` greatest singular values of `matrix` and their left vectors.

    The signs of the vectors are fixed, so the same matrix and seed give the same factors.
    """
    matrix = matrix.astype(np.float32)
    side = min(matrix.shape)
    if side <= _DENSE_SIDE and np.prod(matrix.shape) <= _DENSE_SIZE:
        rows, values, _ = _dense_svd(matrix.toarray())
    else:
        start = np.random.default_rng(seed).standard_normal(side).astype(np.float32)
        rows, values, _ = svds(matrix, k=min(rank, side - 1), v0=start)
    order = np.argsort(-values, kind="stable")[:rank]
    order = order[values[order] > _NOTHING]
    rows, values = rows[:, order], values[order]
    if rows.size:
        peaks = rows[np.abs(rows).argmax(axis=0), np.arange(rows.shape[1])]
        rows = rows * np.where(peaks < 0, -1.0, 1.0)
    return Factors(rows.astype(np.float32), values.astype(np.float32))


def _dense_svd(dense: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """SVD through the Gram matrix of the smaller side: a tall matrix costs little memory."""
    if dense.shape[0] < dense.shape[1]:
        columns, values, rows = _dense_svd(dense.T)
        return rows.T, values, columns.T
    squares, right = np.linalg.eigh(dense.T.astype(np.float64) @ dense)
    values = np.sqrt(np.maximum(squares, 0.0))
    # Gram matrices square the rounding error: what is below its root is none.
    values[values < 1e-5 * max(values.max(initial=0.0), _NOTHING)] = 0.0
    rows = dense @ (right / np.maximum(values, _NOTHING))
    return rows, values, right.T


def unit_rows(vectors: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """L2-normalised rows padded with zeros to `dim`, and which rows are there: (n,) bool.

    A row of (nearly) no length has no direction: it is absent.
    """
    norms = np.linalg.norm(vectors, axis=1)
    present = norms > 1e-4 * max(float(norms.max(initial=0.0)), _NOTHING)
    padded = np.zeros((int(present.sum()), dim), dtype=np.float32)
    padded[:, : vectors.shape[1]] = vectors[present] / norms[present, None]
    return padded, present


def note_fit(db: sqlite_utils.Database, feature: Feature, until: int) -> None:
    """Note until when (exclusive) the fit looked, for the leak rule (`data.pairs.check_leak`)."""
    row = db.conn.execute(
        "SELECT sha256 FROM features WHERE name = ? AND entity = ?", [feature.name, feature.entity]
    ).fetchone()
    with db.conn:
        set_meta(db, fit_note(feature.name), {"until": until, "sha256": row[0]})
