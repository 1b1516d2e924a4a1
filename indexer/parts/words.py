"""The words of items' texts, to compute the overlap of a query with any candidate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from omnisearch.data.text.keys import word_keys
from omnisearch.data.workspace.reading import check_array, reading
from omnisearch.indexer.parts import REBUILD
from omnisearch.indexer.parts.layout import Gathered, Layout, Rows, picked, whole

WORDS_FILE = "words.safetensors"


@dataclass(frozen=True)
class Words:
    """The distinct words of one text per item.

    Attributes:
        keys: uint32, the `word_keys` of all rows.
        starts, lengths: int64 (n,), where those of each row begin, and how many they are.
        more: uint32, what follows `keys`, of later segments; to append it would copy all.
    """

    keys: np.ndarray
    starts: Rows
    lengths: Rows
    more: np.ndarray | None = field(default=None, kw_only=True)

    def of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The keys of rows int64 (m,), one row after the other, and how many each has."""
        lengths = self.lengths[rows]
        ends = np.cumsum(lengths)
        total = int(ends[-1]) if len(ends) else 0
        where = np.repeat(self.starts[rows] - ends + lengths, lengths)
        where += np.arange(total)
        if self.more is None:
            return self.keys[where], lengths
        return picked(self.keys, self.more, where), lengths

    def frequencies(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The distinct keys of rows, ascending, and how many of the rows have each."""
        return np.unique(self.of(rows)[0], return_counts=True)

    def gone(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`frequencies` of the rows of a segment whose items no longer count, ascending.

        Each generation has those of the one before, and a few more, which alone are counted.
        """
        known, keys, counts = self._gone[0]
        new = rows[~among(rows, known)]
        if len(known) + len(new) == len(rows):
            more, times = self.frequencies(new)
            keys, counts = added_up(np.concatenate([keys, more]), np.concatenate([counts, times]))
        else:  # after a rollback
            keys, counts = self.frequencies(rows)
        self._gone[0] = rows, keys, counts
        return keys, counts

    @cached_property
    def _gone(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        none = np.zeros(0, np.int64)
        return [(none, self.keys[:0], none)]

    def at(self, rows: np.ndarray) -> WordsAt:
        """The words of rows int64 (m,), to compare them with several queries."""
        return WordsAt(self, rows)


def among(values: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """bool (m,): which values are in an array that ascends, which `np.isin` would sort again."""
    if not len(ascending):
        return np.zeros(len(values), bool)
    at = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return np.asarray(ascending[at] == values)


def added_up(keys: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct keys, ascending, and int64 the sum of the counts of each."""
    order = np.argsort(keys, kind="stable")  # which merges parts that ascend, and sorts nothing
    keys, counts = keys[order], counts[order]
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1])[: len(keys)])
    return keys[first], np.add.reduceat(counts, first) if len(first) else counts


@dataclass(frozen=True)
class WordsAt:
    """The distinct words of rows int64 (m,), read for the first query that is compared."""

    words: Words
    rows: np.ndarray

    def match(self, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How far a query's words and the words of the rows overlap.

        Args:
            query: uint32 (q,) or (q, 2 or 4), `word_keys` or `either_keys` of the query's words.

        Returns:
            float32 (m,): the share of the query's words that the row has, and the share of the
            row's words that are in the query; NaN if either has no words.
        """
        has = self._having(query)
        met = self._known(sum(_words_of(query, has), np.zeros(len(self.rows))), query)
        covered = self._known(sum(has.values(), np.zeros(len(self.rows))), query)
        return _over(met, max(len(query), 1)), _over(covered, np.maximum(self._found[1], 1))

    def share(self, query: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The first result of `match`, with each word of the query weighted."""
        met = np.zeros(len(self.rows))
        for has, weight in zip(
            _words_of(query, self._having(query)), weights.tolist(), strict=True
        ):
            met += has * weight
        return _over(self._known(met, query), max(float(weights.sum()), 1e-9))

    def _known(self, met: np.ndarray, query: np.ndarray) -> np.ndarray:
        """The same, NaN for rows without words and for a query without words."""
        return np.where((self._found[1] > 0) & (len(query) > 0), met, np.nan)

    def _having(self, query: np.ndarray) -> dict[int, np.ndarray]:
        """Which rows have each key of a query, bool (m,)."""
        keys, lengths = self._found
        wanted = list(dict.fromkeys(query.ravel().tolist()))
        # A comparison with each is several times faster than a binary search.
        same = np.flatnonzero(keys == np.array(wanted, np.uint32)[:, None])
        which, places = np.divmod(same, max(len(keys), 1))
        has = np.zeros((len(wanted), len(lengths)), bool)
        has[which, np.searchsorted(self._ends, places, side="right")] = True
        return dict(zip(wanted, has, strict=True))

    @cached_property
    def _found(self) -> tuple[np.ndarray, np.ndarray]:
        return self.words.of(self.rows)

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum(self._found[1])


def _words_of(query: np.ndarray, has: dict[int, np.ndarray]) -> Iterator[np.ndarray]:
    """Which rows have each word of a query, bool (m,), given which have each key."""
    for first, *others in _either(query).tolist():
        found = has[first]
        for key in set(others) - {first}:
            found = found | has[key]
        yield found


def _either(query: np.ndarray) -> np.ndarray:
    """Each word's keys as a row."""
    return query if query.ndim == 2 else query[:, None]


def _over(met: np.ndarray, whole: float | np.ndarray) -> np.ndarray:
    return (met / whole).astype(np.float32)


_MANY = 20


@dataclass(frozen=True)
class Texts(Words):
    """The words of all texts of each item that BM25 reads.

    Attributes:
        known: uint32 (v,), the distinct keys, ascending; of several segments those of the first.
        counts: int64 (v,), how many rows have each.
        having: int32 (k,), the rows that have each, one word after the other; of a segment. Empty
            for several.
        above: keys, ascending, and how many more rows of all segments have each than `counts`
            says, or fewer.
    """

    known: np.ndarray
    counts: np.ndarray
    having: np.ndarray
    above: tuple[np.ndarray, np.ndarray] | None = field(default=None, kw_only=True)

    @cached_property
    def size(self) -> int:
        """How many rows have words."""
        return int(np.count_nonzero(whole(self.lengths)))

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum(self.counts)

    def rows_of(self, key: int) -> np.ndarray:
        """int32 (m,): the rows, ascending, of a segment that have a word."""
        at = int(np.searchsorted(self.known, np.uint32(key)))  # another type would convert them all
        if at == len(self.known) or self.known[at] != key:
            return self.having[:0]
        end = int(self._ends[at])
        return self.having[end - int(self.counts[at]) : end]

    def rows_with(self, query: np.ndarray) -> np.ndarray:
        """int32 (m,), ascending: the rows of a segment that have all words, each in any form.

        Args:
            query: uint32 (q, 2 or 4), `either_keys` of one word or more.
        """
        words = sorted(map(self._rows_of_any, query.tolist()), key=len)
        rows = words[0]
        for other in words[1:]:
            if len(other) > _MANY * len(rows):  # a binary search of each is quicker than a mask
                places = np.searchsorted(other, rows)
                rows = rows[other[np.minimum(places, len(other) - 1)] == rows]
            else:
                has = np.zeros(len(self.lengths), bool)
                has[other] = True
                rows = rows[has[rows]]
        return rows

    def _rows_of_any(self, keys: list[int]) -> np.ndarray:
        found = [rows for key in set(keys) if len(rows := self.rows_of(key))]
        if len(found) < 2:
            return found[0] if found else self.having[:0]
        return np.unique(np.concatenate(found))

    def frequency(self, query: np.ndarray) -> np.ndarray:
        """int64 (len(query),): how many rows have each word, or its more frequent spelling."""
        either = _either(query)
        found = _looked_up(either, self.known, self.counts)
        if self.above:
            found += _looked_up(either, *self.above)
        return found.max(axis=1, initial=0)


def _looked_up(keys: np.ndarray, known: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """int64: the count of each key, 0 of one that is not known."""
    if not len(known):
        return np.zeros(keys.shape, np.int64)
    at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[at] == keys, counts[at], 0)


def idf(texts: Sequence[Texts], query: np.ndarray) -> np.ndarray:
    """float64 (len(query),), log(1 + (n - df + 0.5) / (df + 0.5)) over all rows that have words."""
    n = sum(part.size for part in texts)
    df = np.sum([part.frequency(query) for part in texts], axis=0)
    return np.log1p((n - df + 0.5) / (df + 0.5))


def write_texts(folder: Path, lines: Sequence[str]) -> None:
    """Store the words of each row, given its tokens joined by spaces."""
    rows = [word_keys(line.split()) for line in lines]
    keys = np.concatenate([np.zeros(0, np.uint32), *rows])
    known, counts = np.unique(keys, return_counts=True)
    ends = np.cumsum([len(row) for row in rows], dtype=np.int64)
    row = np.repeat(np.arange(len(rows), dtype=np.int32), np.diff(ends, prepend=0))
    having = row[np.argsort(keys, kind="stable")]
    counted = {"known": known, "counts": counts.astype(np.int64), "having": having}
    save_file({"keys": keys, "ends": ends, **counted}, folder / WORDS_FILE)


def open_texts(folder: Path, rows: int) -> Texts:
    """Open what `write_texts` wrote into `folder`.

    Raises:
        Corrupt: the file is missing, or does not have the words of that many rows.
    """
    path = folder / WORDS_FILE
    with reading("The words of items", path, REBUILD):
        columns = load_file(path)
        keys, ends = columns["keys"], columns["ends"]
        known, counts = columns["known"], columns["counts"]
        check_array("keys", keys, np.uint32, (None,))
        check_array("ends", ends, np.int64, (rows,))
        check_array("known", known, np.uint32, (None,))
        check_array("counts", counts, np.int64, (len(known),))
        having = columns["having"]
        check_array("having", having, np.int32, (len(keys),))
        check_ends("the index of words", ends, len(keys))
        if not ascends(known) or not ((counts >= 1) & (counts <= rows)).all():
            raise ValueError("the word counts do not fit")
        low, high = having.min(initial=0), having.max(initial=-1)
        if counts.sum() != len(having) or low < 0 or high >= rows:
            raise ValueError("the rows of words do not fit")
        return Texts(keys, *spans(ends), known, counts, having)


def spans(ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The starts and lengths of consecutive parts, int64 (n,), of their ends."""
    return np.concatenate(([0], ends))[:-1], np.diff(ends, prepend=0)


def stacked_words(parts: Sequence[Words], layout: Layout) -> Words:
    """The words by row of a generation's segments."""
    first, *rest = (part.keys for part in parts)
    more = np.concatenate([first[:0], *rest])
    shifts = np.cumsum([0, *(len(part.keys) for part in parts)])[:-1]
    starts = [whole(part.starts) + shift for part, shift in zip(parts[1:], shifts[1:], strict=True)]
    return Words(
        first,
        Gathered([whole(parts[0].starts), *starts], layout),
        Gathered([whole(part.lengths) for part in parts], layout),
        more=more,
    )


def stacked_texts(parts: Sequence[Texts], layout: Layout) -> Texts:
    """The texts by row of a generation's segments; words of items that no longer count, do not."""
    words = stacked_words(parts, layout)
    gone = [part.gone(dead) for part, dead in zip(parts, layout.dead, strict=True)]
    changed = added_up(
        np.concatenate([*(part.known for part in parts[1:]), *(keys for keys, _ in gone)]),
        np.concatenate([*(part.counts for part in parts[1:]), *(-times for _, times in gone)]),
    )
    first = parts[0]
    counted = first.known, first.counts, first.having[:0]
    found = Texts(words.keys, words.starts, words.lengths, *counted, more=words.more, above=changed)
    empty = sum(
        int(np.count_nonzero(part.lengths[dead]))
        for part, dead in zip(parts, layout.dead, strict=True)
    )
    vars(found)["size"] = sum(part.size for part in parts) - empty
    return found


def check_ends(what: str, ends: np.ndarray, total: int) -> None:
    """Raise ValueError unless the ends of consecutive parts ascend to the total."""
    last = int(ends[-1]) if len(ends) else 0
    if last != total or ends.min(initial=0) < 0 or not ascends(ends):
        raise ValueError(f"{what} does not ascend to {total}")


def ascends(values: np.ndarray) -> bool:
    """Whether no value is below the one before it."""
    return bool((values[1:] >= values[:-1]).all())
