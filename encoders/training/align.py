"""Rotates a new space towards existing embeddings, in closed form.

A rotation of a whole space leaves its cosines unchanged. So before training, the space of the
pretrained text encoder is rotated towards the PinSage and ItemSage vectors of the same items: the
query encoder then starts out compatible with both (§3.4.3).
Figures: docs/results/warm-start.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from omnisearch.data.catalogue.spaces import SPACES
from omnisearch.data.catalogue.vectors import ItemVectors
from omnisearch.encoders.models.model import OmniModel
from omnisearch.encoders.text_encoder import FEATURE
from omnisearch.encoders.training.dataset import Items

_SAMPLE = 50_000  # items of each type used to fit the rotation


def nearest_rotation(product: np.ndarray) -> np.ndarray:
    """The matrix R (m, n) with orthonormal rows or columns that maximises trace(R' product).

    If `product` (m, n) is Y' X, R maps rows of X (p, n) closest to rows of Y (p, m): the
    orthogonal Procrustes problem (Schönemann, 1966).
    """
    left, _, right = np.linalg.svd(product, full_matrices=False)
    return left @ right


def align(model: OmniModel, items: Items, projection: np.ndarray) -> np.ndarray:
    """The rotation (dim, dim) float32 of projected text vectors towards the compatibility spaces.

    Spaces of the model's dimension share one rotation. A space of another dimension has a linear
    layer in the model, which is set to rotate it towards ours instead. The rotation is the
    identity without such spaces, or if no item has both vectors.

    Args:
        projection: (dim, d) of text vectors.
    """
    dim = len(projection)
    shared = np.zeros((dim, dim))
    others: dict[str, np.ndarray] = {}
    for space, entry in SPACES.items():
        features = items.features[entry.entity]
        if space not in model.compat or FEATURE not in features:
            continue
        product = _product(features[space], features[FEATURE], projection)
        if model.compat[space].projection is None:
            shared += product
        else:
            others[space] = product
    rotation = nearest_rotation(shared) if shared.any() else np.eye(dim)
    for space, product in others.items():
        if product.any():
            weight = nearest_rotation(rotation @ product.T)
            layer: Any = model.compat[space].projection
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(weight))
    return rotation.astype(np.float32)


def _product(theirs: ItemVectors, text: ItemVectors, projection: np.ndarray) -> np.ndarray:
    """(their dim, dim) product of the unit vectors of items with both; zeros if there are none."""
    ids = theirs.ids[:: -(-len(theirs.ids) // _SAMPLE) or 1]
    known, has = text.rows(ids)
    target, _ = theirs.rows([key for key, there in zip(ids, has, strict=True) if there])
    source = known[has] @ projection.T
    if not len(source):
        return np.zeros((theirs.dim, len(projection)))
    source, target = (
        rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        for rows in (source, target)
    )
    return target.T @ source / len(source)
