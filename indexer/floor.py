"""The floor of a generation: the cosine below which an item is no nearer to a query than to noise.

A nearest item there always is. How near it is to random letters, keys and foreign signs differs
between encoders and catalogues, so it is measured: a build embeds such nonsense and looks for the
best item. So it does for queries of the log and for words of items' names, which the floor must not
exclude: it is the smaller of what 5% of the nonsense reaches, and what 90% of these reach. Only a
query of which no item has a word is compared with it (`engine.fitting`). Related queries have a
floor of their own, of the nearest query. None is better than a wrong one, so it must leave only the
half of what is real.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import sqlite_utils

from omnisearch.data.catalogue.items import read_items
from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.data.text.normalise import words
from omnisearch.indexer.parts.table import name_of
from omnisearch.indexer.parts.vectors import Space
from omnisearch.indexer.signals import EntitySignals, ItemsAndQueries

_ITSELF = 0.9999  # a query of the log is in the index, and is not related to itself
NONSENSE, REAL = 300, 300  # texts of each that are embedded
_NONSENSE_SHARE, _REAL_SHARE, _RELATED_SHARE = 0.05, 0.1, 0.5
_TELLS = 1.5  # times as much nonsense as queries is below the floor of related ones, or none
_WORDS = 3  # of a name, that make a query

# Words that are not alike in English, German, French and Spanish.
_TRANSLATED = (
    *("dog Hund chien perro", "tree Baum arbre árbol", "window Fenster fenêtre ventana"),
    *("spoon Löffel cuillère cuchara", "knife Messer couteau cuchillo", "dress Kleid robe vestido"),
    *("mirror Spiegel miroir espejo", "butterfly Schmetterling papillon mariposa"),
    *("horse Pferd cheval caballo", "key Schlüssel clé llave", "child Kind enfant niño"),
    *("chair Stuhl chaise silla", "apple Apfel pomme manzana", "ship Schiff navire barco"),
    *("bird Vogel oiseau pájaro", "girl Mädchen fille chica"),
)
_KNOWS = 0.6  # of the translations are nearest to their word: the encoder is one of many languages

_KEYS = (
    *("qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "azertyuiop", "1234567890"),
    *("йцукенгшщзх", "фывапролджэ", "ячсмитьбю"),
)
_SCRIPTS = (
    *((0x3B1, 0x3C9), (0x430, 0x44F), (0x5D0, 0x5EA), (0x621, 0x64A), (0x905, 0x939)),
    *((0xE01, 0xE2E), (0x3041, 0x3096), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0x10D0, 0x10F0)),
)
Best = Callable[[np.ndarray], float]


def nonsense(count: int, seed: int = 0) -> list[str]:
    """Texts that mean nothing: a third each random letters, runs of keys, and foreign signs."""
    rng = np.random.default_rng(seed)

    def letters() -> str:
        return "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(4, 13)))

    def keys() -> str:
        row = _KEYS[int(rng.integers(len(_KEYS)))]
        start = int(rng.integers(len(row) - 3))
        run = row[start : start + int(rng.integers(3, 8))]
        return (run[::-1] if rng.random() < 0.3 else run) * int(rng.integers(1, 3))

    def signs() -> str:
        first, last = _SCRIPTS[int(rng.integers(len(_SCRIPTS)))]
        return "".join(map(chr, rng.integers(first, last + 1, int(rng.integers(3, 10)))))

    kinds = (letters, keys, signs)
    return [
        " ".join(kinds[number % 3]() for _ in range(int(rng.integers(1, 4))))
        for number in range(count)
    ]


def queries_of_names(names: Sequence[str], count: int, seed: int = 0) -> list[str]:
    """Queries of one to three words of a name each."""
    rng = np.random.default_rng(seed)
    found = [said for name in names if (said := [word for word in words(name) if len(word) > 2])]
    if not found:
        return []
    picked = (found[int(at)] for at in rng.integers(len(found), size=count))
    return [" ".join(rng.permutation(said)[: int(rng.integers(1, _WORDS + 1))]) for said in picked]


def floor_of(
    db: sqlite_utils.Database,
    encoder: ItemsAndQueries,
    signals: dict[str, EntitySignals],
    spaces: Mapping[tuple[str, str], Space],
    ef: int,
) -> dict[str, Any] | None:
    """The floor of a build and its figures, for its manifest; None without an encoder or items.

    Args:
        spaces: those of the build. ef: breadth of the search in them.
    """
    learned = [
        space
        for entity in ITEM_ENTITIES
        if (space := spaces.get((entity, LEARNED))) is not None and space.count
    ]
    if not learned:
        return None
    rng = np.random.default_rng(0)

    def some(entity: str, most: int) -> list[str]:
        ids = signals[entity].ids
        return [ids[row] for row in rng.permutation(len(ids))[:most].tolist()]

    names = [
        name_of(item)
        for entity in ITEM_ENTITIES
        for batch in read_items(db, entity, ids=some(entity, REAL))
        for item in batch
    ]
    real = some("query", REAL // 2) + queries_of_names(names, REAL // 2)

    def best(vector: np.ndarray) -> float:
        return max(float(space.search(vector, 1, ef)[1].max(initial=-1)) for space in learned)

    asked = spaces.get(("query", LEARNED))

    def best_query(vector: np.ndarray) -> float:
        assert asked is not None
        found = asked.search(vector, 2, ef)[1]
        return float(found[found < _ITSELF].max(initial=-1))

    of_queries = best_query if asked is not None and asked.count else None
    return measured(encoder.queries, best, real, of_queries)


def translates(encode: Callable[[list[str]], np.ndarray]) -> float:
    """The share of words in other languages whose nearest of several English words is their own."""
    words_in = [line.split() for line in _TRANSLATED]
    english = encode([line[0] for line in words_in])
    others = encode([word for line in words_in for word in line[1:]])
    right = np.repeat(np.arange(len(words_in)), len(words_in[0]) - 1)
    return float(np.mean((others @ english.T).argmax(axis=1) == right))


def measured(
    encode: Callable[[list[str]], np.ndarray],
    best: Best,
    real: Sequence[str],
    best_query: Best | None = None,
) -> dict[str, Any] | None:
    """The floor and its figures, for a manifest; None without anything to compare.

    None also for an encoder that knows translations: the cosines of a query in another language are
    as low as those of noise, and such queries must be answered.

    Args:
        encode: texts → float32 (n, d), unit rows. best: the highest cosine of any item.
        real: queries, and texts such as people may search for.
        best_query: the highest cosine of any other query, if there are some: `related` is their
            floor.
    """
    if not real or translates(encode) >= _KNOWS:
        return None
    vectors = encode(nonsense(NONSENSE)), encode(list(real))
    none, some = (np.array([best(vector) for vector in each]) for each in vectors)
    floor = _between(none, some, _REAL_SHARE)
    related: dict[str, float] = {}
    if best_query is not None:
        none_near, some_near = (
            np.array([best_query(vector) for vector in each]) for each in vectors
        )
        least = _between(none_near, some_near, _RELATED_SHARE)
        if (none_near < least).mean() >= _TELLS * (some_near < least).mean():
            related = {"related": least}
    return {
        "cosine": floor,
        **related,
        "nonsense": {"median": float(np.median(none)), "below": float((none < floor).mean())},
        "real": {"median": float(np.median(some)), "below": float((some < floor).mean())},
        "of": len(real),
    }


def _between(none: np.ndarray, some: np.ndarray, share: float) -> float:
    """The floor by the best cosines of nonsense and of what is real; a share of these is below."""
    return float(min(np.quantile(none, 1 - _NONSENSE_SHARE), np.quantile(some, share)))
