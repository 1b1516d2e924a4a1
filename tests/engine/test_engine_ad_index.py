"""The advertised items: what is found of them by a short form is what all vectors would find."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.engine.ads.ad_index import AdIndex
from omnisearch.engine.index import Items


def index_of(pins: np.ndarray, products: np.ndarray, missing: np.ndarray) -> AdIndex:
    """Of all items of a generation with these vectors, and without words; `missing` is of pins."""

    def space(vectors: np.ndarray, present: np.ndarray) -> Any:
        return SimpleNamespace(take=lambda rows: vectors[rows], present=present)

    def no_words(rows: np.ndarray) -> Any:
        return np.zeros(0, np.uint32), np.zeros(len(rows), np.int64)

    texts = {entity: SimpleNamespace(of=no_words) for entity in ("pin", "product")}
    spaces = {
        ("pin", LEARNED): space(pins, ~missing),
        ("product", LEARNED): space(products, np.ones(len(products), bool)),
    }
    entity = np.repeat(np.array([0, 1], np.uint8), (len(pins), len(products)))
    row = np.concatenate((np.arange(len(pins)), np.arange(len(products))))
    return AdIndex(Items(entity, row), SimpleNamespace(spaces=spaces, texts=texts))


def units(vectors: np.ndarray) -> np.ndarray:
    found: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found.astype(np.float32)


@pytest.mark.parametrize("rank", [1, 8, 32, 200])
@pytest.mark.parametrize(("size", "dimensions"), [(1, 256), (20, 16), (600, 256)])
def test_all_that_are_near_enough_are_found(size: int, dimensions: int, rank: int) -> None:
    rng = np.random.default_rng(rank)
    spread = rng.normal(size=(rank, dimensions))
    vectors = units(rng.normal(size=(2 * size, rank)) @ spread)
    missing = rng.random(size) < 0.1
    index = index_of(vectors[:size], vectors[size:], missing)
    # Some queries are among the items, some are where no item is.
    queries = units(np.vstack((vectors[:3], rng.normal(size=(5, dimensions)))))
    true = (queries.astype(np.float64) @ vectors.T.astype(np.float64)).astype(np.float32)
    true[:, : len(missing)][:, missing] = np.nan
    for vector, plain in zip(queries, true, strict=True):
        for least in (-1.0, 0.0, 0.3, 0.9, 0.9999):
            found = index.cosines(SimpleNamespace(vector=vector), least)  # type: ignore[arg-type]
            assert found is not None
            sure = np.abs(plain - least) > 1e-6  # at the bound itself rounding decides
            assert (np.isnan(found) == ~(plain >= least))[sure].all()
            there = ~np.isnan(found)
            assert found[there] == pytest.approx(plain[there], abs=1e-6)


def test_without_vectors_nothing_is_near() -> None:
    none = np.zeros((0, 16), np.float32)
    index = index_of(none, none, np.zeros(0, bool))
    assert index.cosines(SimpleNamespace(vector=none), 0.5) is None  # type: ignore[arg-type]
