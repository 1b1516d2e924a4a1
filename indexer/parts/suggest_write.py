"""Writing the texts that are suggested (`omnisearch.indexer.parts.suggest`)."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from safetensors.numpy import save_file

from omnisearch.data.catalogue.schema import ITEM_ENTITIES
from omnisearch.data.text.keys import key_of
from omnisearch.data.text.language import primary
from omnisearch.data.text.normalise import encodable, is_unspaced
from omnisearch.data.text.prefixes import whole_key
from omnisearch.indexer.parts.near_words import MOST_LETTERS, word_letters
from omnisearch.indexer.parts.suggest import END, ranks_of
from omnisearch.indexer.parts.suggest_open import ITEMS_FILE, QUERIES_FILE

LONGEST = 80  # characters of a suggestion; of a longer title its first words
CATEGORY = "category"  # the attribute with an item's place in the shop
PATH = ">"  # between the parts of a category

_SHORTEST_WORD = 3  # of those that a typo may be in
_MOST_WORDS = 16  # of a text, by whose beginnings it is found
Text = tuple[str, int, str]  # the text, its place in KINDS, and its language or ''


def suggested_of(item: Mapping[str, Any]) -> dict[Text, int]:
    """What an item suggests: its title, as often as it is asked for, its brand, its categories."""
    engaged = sum(weight for _, weight, *_ in item.get("engaged_queries") or ())
    language = primary(item["language"]) if item.get("language") else ""
    found = {(_shown(item.get("title")), 3, language): 1 + int(engaged)}
    found[_shown(item.get("brand")), 2, ""] = 1
    for path in categories_of(item):
        found |= {(_shown(node), 1, ""): 1 for node in _nodes(path)}
    return {text: weight for text, weight in found.items() if text[0]}


class SuggestedTexts:
    """Collects what is suggested of the items of a segment."""

    def __init__(self) -> None:
        self._numbers: dict[Text, int] = {}
        self._of = {entity: array("i") for entity in ITEM_ENTITIES}
        self._weights = {entity: array("q") for entity in ITEM_ENTITIES}
        self._ends = {entity: array("q") for entity in ITEM_ENTITIES}

    def add(self, entity: str, suggested: Mapping[Text, int]) -> None:
        """Add those of the next item, as `suggested_of` has them."""
        of, weights = self._of[entity], self._weights[entity]
        for text, weight in suggested.items():
            of.append(self._numbers.setdefault(text, len(self._numbers)))
            weights.append(weight)
        self._ends[entity].append(len(of))

    def write(self, folder: Path, entities: Sequence[str]) -> None:
        """Store them in the segment's folder."""
        counts = np.zeros(len(self._numbers), np.int64)
        for entity in ITEM_ENTITIES:
            weights = np.array(self._weights[entity], np.int64)
            np.add.at(counts, np.array(self._of[entity], np.int64), weights)
        columns, order = entry_columns(list(self._numbers), counts)
        place = np.zeros(len(order), np.int32)
        place[order] = np.arange(len(order), dtype=np.int32)
        for entity in entities:
            columns[f"{entity}_of"] = place[np.array(self._of[entity], np.int64)]
            columns[f"{entity}_weights"] = np.array(self._weights[entity], np.int64)
            columns[f"{entity}_ends"] = np.array(self._ends[entity], np.int64)
        _save(folder / ITEMS_FILE, columns)


def write_queries(folder: Path, queries: Iterable[tuple[str, int, str | None]]) -> None:
    """Store the queries that are suggested, in a generation's folder.

    Args:
        queries: (query, count, language), each query once.
    """
    listed = [(query, count, primary(code) if code else "") for query, count, code in queries]
    texts: list[Text] = [(query, 0, code) for query, _, code in listed]
    counts = np.array([count for _, count, _ in listed], np.int64)
    _save(folder / QUERIES_FILE, entry_columns(texts, counts)[0])


def _save(path: Path, columns: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(exist_ok=True)
    save_file(columns, path)


def _shown(text: str | None) -> str:
    """A text as it is suggested; empty if it has no words."""
    plain = " ".join(encodable(text or "").split())
    if len(plain) > LONGEST:
        plain = plain[: LONGEST + 1].rpartition(" ")[0] or plain[:LONGEST]
    return plain if whole_key(plain) else ""


def categories_of(item: Mapping[str, Any]) -> list[str]:
    """The paths of an item's attribute `category`, or else its product types."""
    value = (item.get("attributes") or {}).get(CATEGORY)
    if value is None:
        return item.get("product_types") or []
    return [each for each in (value if isinstance(value, list) else [value]) if type(each) is str]


def _nodes(path: str) -> list[str]:
    """A category and those above it."""
    parts = [part.strip() for part in path.split(PATH)]
    parts = [part for part in parts if part]
    return [f" {PATH} ".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def entry_columns(
    texts: Sequence[Text], counts: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The columns of `Entries`, and the place in `texts` of each, int64 (n,).

    Args:
        texts: distinct, each with words. counts: int64 (n,).
    """
    order = np.array(sorted(range(len(texts)), key=texts.__getitem__), np.int64)
    ordered = [texts[place] for place in order.tolist()]
    counts = counts[order]
    kinds = np.array([kind for _, kind, _ in ordered], np.uint8)
    forms = [whole_key(text) for text, _, _ in ordered]
    stored = [text.encode() for text, _, _ in ordered]
    at, owners, key_ends = _sorted_forms([form.encode() for form in forms])
    begins = at == np.concatenate(([0], key_ends))[owners]
    vocabulary = sorted({code for _, _, code in ordered if code})
    codes = {code: place for place, code in enumerate(vocabulary)}
    hashes = np.array([key_of("\n".join(map(str, text))) for text in ordered], np.uint64)
    hashed = np.argsort(hashes, kind="stable")
    keys = b"".join(form.encode() + END for form in forms)
    words = _typed_words(forms)
    columns = {
        "kinds": kinds,
        "counts": counts,
        "languages": np.array([codes.get(code, -1) for _, _, code in ordered], np.int16),
        "vocabulary": np.frombuffer(orjson.dumps(vocabulary), np.uint8),
        "texts": np.frombuffer(b"".join(stored), np.uint8),
        "text_ends": np.cumsum([len(text) for text in stored], dtype=np.int64),
        "keys": np.frombuffer(keys, np.uint8),
        "key_ends": key_ends,
        "at": at,
        "owners": owners,
        "ranks": ranks_of(begins, kinds[owners], counts[owners]),
        "hashes": hashes[hashed],
        "hashed": hashed.astype(np.int32),
        "letters": word_letters(words),
        "word_ranges": _word_ranges(words, keys, at),
    }
    return columns, order


def _sorted_forms(forms: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`at`, `owners` and `key_ends` of `Entries`."""
    rests: list[bytes] = []
    begins, owners = array("q"), array("i")
    ends = np.cumsum([len(form) + len(END) for form in forms], dtype=np.int64)
    for owner, (form, end) in enumerate(zip(forms, ends.tolist(), strict=True)):
        start, whole = end - len(form) - len(END), 0
        for _ in range(_MOST_WORDS):
            rests.append(form[whole:])
            begins.append(start + whole)
            owners.append(owner)
            whole = form.find(b" ", whole) + 1
            if whole == len(form):
                break
    order = np.array(sorted(range(len(rests)), key=rests.__getitem__), np.int64)
    at = np.array(begins, np.int64)[order]
    if len(at) and int(ends[-1]) > np.iinfo(np.uint32).max:
        raise OverflowError("The texts to suggest are longer than 4 GiB.")
    return at.astype(np.uint32), np.array(owners, np.int32)[order], ends


def _typed_words(forms: list[str]) -> list[str]:
    """The distinct words that a typo may be in, ascending."""
    words = {word for form in forms for word in form.split()}
    return sorted(
        word
        for word in words
        if _SHORTEST_WORD <= len(word) <= MOST_LETTERS
        and word[0].isalpha()
        and not is_unspaced(word)
    )


def _word_ranges(words: list[str], keys: bytes, at: np.ndarray) -> np.ndarray:
    """uint32 (v, 2): the range of the forms that begin with each word; both ascend."""
    ranges = np.zeros((len(words), 2), np.uint32)
    place, begins = 0, at.tolist()
    for number, word in enumerate(words):
        form = f"{word} ".encode()
        size = len(form)
        while place < len(begins) and keys[begins[place] : begins[place] + size] < form:
            place += 1
        ranges[number, 0] = place
        while place < len(begins) and keys[begins[place] : begins[place] + size] == form:
            place += 1
        ranges[number, 1] = place
    return ranges
