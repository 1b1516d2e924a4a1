"""Which systems a shop has something to answer with."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from omnisearch.engine.retrieval import answered
from omnisearch.engine.systems import evaluated_systems


def of(spaces: list[tuple[str, str]], embeds: bool = True) -> list[str]:
    tokens = {"pin": None, "product": None}
    generation = SimpleNamespace(tokens=tokens, spaces=dict.fromkeys(spaces))
    snapshot = SimpleNamespace(generation=generation, embeds=embeds)
    return answered(cast(Any, snapshot), evaluated_systems())


def test_a_shop_without_graph_vectors_is_not_measured_by_them() -> None:
    learned = [("pin", "learned"), ("product", "learned")]
    assert of(learned) == ["token", "embedding", "rrf", "l1", "full"]
    assert "itemsage" in of([*learned, ("product", "itemsage")])
    assert "pinsage" not in of([*learned, ("product", "itemsage")])


def test_without_embeddings_words_are_left() -> None:
    assert of([], embeds=False) == ["token", "rrf", "l1", "full"]
