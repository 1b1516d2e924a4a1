"""The token index for serving: tantivy, memory-mapped, BM25 in Lucene's form."""

from __future__ import annotations

import os
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import tantivy

from omnisearch.data.text.stems import STEM
from omnisearch.data.workspace.reading import load_json, reading
from omnisearch.indexer.parts import REBUILD
from omnisearch.indexer.parts.token_index import (
    Statistics,
    Terms,
    empty_result,
    idf,
    stem_score,
    stems_of,
    weights_of,
    words_and_stems,
)

TANTIVY_FOLDER = "tantivy"

_META = {  # what is read of tantivy's meta.json
    "segments": [{"segment_id": str, "max_doc": int, "deletes": type(None)}],
    "schema": [{"name": str, "type": str}],
}

# The writer flushes a segment when its heap is full; with one thread and one segment, a document's
# address is its row. The heap is an upper bound, not allocated at once.
_HEAP_BYTES = 1_000_000_000
# A filter can be passed to tantivy as a set of rows, or applied to a deeper result: a row in the
# set costs about as much as this many results.
_SET_ROW_COST = 12


def write_tantivy(folder: Path, lines: list[str]) -> None:
    """Index rows of tokens (joined by spaces) into `folder`/tantivy, also rows without tokens."""
    path = folder / TANTIVY_FOLDER
    path.mkdir()
    index = tantivy.Index(_schema(), path=str(path))
    writer = index.writer(_HEAP_BYTES, 1)
    for row, line in enumerate(lines):
        document = tantivy.Document()
        words, stems = words_and_stems(line)
        document.add_text("text", words)
        document.add_text("stems", stems)
        document.add_unsigned("row", row)  # Document(row=...) would add a signed value
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()
    for lock in path.glob(".tantivy-*.lock"):
        lock.unlink()


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("text", tokenizer_name="whitespace", index_option="freq")
    builder.add_text_field("stems", tokenizer_name="whitespace", index_option="basic")
    builder.add_unsigned_field("row", indexed=True, fast=True)
    return builder.build()


class TantivyIndex:
    """A `TokenIndex` over `folder`/tantivy. Its files must have been verified before.

    Raises:
        Corrupt: tantivy cannot open it, or it does not have `rows` rows.
    """

    def __init__(self, folder: Path, rows: int) -> None:
        self._path = path = folder / TANTIVY_FOLDER
        with self._reading():
            self._fields = _fields_of(path / "meta.json", rows)
            index = tantivy.Index.open(str(self._lockable(path)))
            self._searcher = index.searcher()
            if self._searcher.num_docs != rows:
                raise ValueError(f"it has {self._searcher.num_docs} rows, not {rows}")
        self._schema = index.schema
        self._rows = rows
        self._in_order = self._searcher.num_segments <= 1

    def _lockable(self, path: Path) -> Path:
        """The folder, or links to its files: tantivy makes a lock file beside what it opens."""
        if os.access(path, os.W_OK):
            return path
        self._links = tempfile.TemporaryDirectory(prefix="omnisearch-")  # lives as long as this
        for file in path.iterdir():
            (Path(self._links.name) / file.name).symlink_to(file.absolute())
        return Path(self._links.name)

    def search(
        self,
        terms: Terms,
        k: int,
        allowed: np.ndarray | None = None,
        among: Statistics | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `SegmentTokens.search`."""
        k = min(k, self._rows)
        if not terms or k <= 0:
            return empty_result()
        with self._reading():
            return self._search(terms, k, allowed, among or Statistics(self._rows, self._frequency))

    def frequency(self, term: str) -> int:
        """How many rows have a term."""
        with self._reading():
            return self._frequency(term)

    def _frequency(self, term: str) -> int:
        field = "stems" if term.startswith(STEM) else "text"
        return self._searcher.doc_freq(field, term) if field in self._fields else 0

    def _reading(self) -> AbstractContextManager[None]:
        """tantivy panics where a file is not as it expects."""
        return reading("The token index", self._path, REBUILD)

    def _search(
        self, terms: Terms, k: int, allowed: np.ndarray | None, among: Statistics
    ) -> tuple[np.ndarray, np.ndarray]:
        weights = weights_of(terms, among)
        here = {term: self._frequency(term) for term in weights}
        found = {
            term: self._term(term, weight, here[term], among)
            for term, weight in weights.items()
            if here[term]
        }
        for word, stem in stems_of(terms, found).items():
            found[word] = tantivy.Query.disjunction_max_query([found[word], found.pop(stem)])
        if not found:
            return empty_result()
        query = tantivy.Query.boolean_query(
            [(tantivy.Occur.Should, clause) for clause in found.values()]
        )
        if allowed is None:
            return self._top(query, k)
        kept = int(np.count_nonzero(allowed))
        if kept == 0:
            return empty_result()
        matching = sum(here.values())
        depth = min(64 + 2 * k * self._rows // kept, self._rows)
        if _SET_ROW_COST * kept < min(depth, matching):
            within = _within(self._schema, query, np.flatnonzero(allowed).tolist())
            return self._top(within, min(k, kept))
        return self._sift(query, k, allowed, depth)

    def _term(self, term: str, weight: float, here: int, among: Statistics) -> tantivy.Query:
        if term.startswith(STEM):
            # Stems make no item longer, whatever its language.
            found = tantivy.Query.term_query(self._schema, "stems", term, index_option="basic")
            score = stem_score(weight, among.rows, among.frequency(term))
            return tantivy.Query.const_score_query(found, score)
        query = tantivy.Query.term_query(self._schema, "text", term, index_option="freq")
        there = among.frequency(term)
        if (there, among.rows) != (here, self._rows):
            weight *= idf(among.rows, there) / idf(self._rows, here)
        return query if weight == 1 else tantivy.Query.boost_query(query, weight)

    def _sift(
        self, query: tantivy.Query, k: int, allowed: np.ndarray, depth: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The first k allowed rows, from increasingly deep results."""
        while True:
            rows, scores = self._top(query, depth)
            inside = np.flatnonzero(allowed[rows])[:k]
            if len(inside) == k or len(rows) < depth or depth == self._rows:
                return rows[inside], scores[inside]
            depth = min(8 * depth, self._rows)

    def _top(self, query: tantivy.Query, k: int) -> tuple[np.ndarray, np.ndarray]:
        hits = self._searcher.search(query, k, count=False).hits
        scores = np.array([score for score, _ in hits], dtype=np.float32)
        if self._in_order:
            return self._checked([address.doc for _, address in hits]), scores
        addresses = [address for _, address in hits]
        rows = self._checked(self._searcher.fast_field_values("row", addresses))
        order = np.lexsort((rows, -scores))
        return rows[order], scores[order]

    def _checked(self, found: list[int]) -> np.ndarray:
        if max(found, default=0) >= self._rows:
            raise ValueError(f"row {max(found)} of {self._rows}")
        return np.array(found, dtype=np.int64)


def _within(schema: tantivy.Schema, query: tantivy.Query, rows: list[int]) -> tantivy.Query:
    among = tantivy.Query.const_score_query(tantivy.Query.term_set_query(schema, "row", rows), 0.0)
    return tantivy.Query.boolean_query([(tantivy.Occur.Must, query), (tantivy.Occur.Must, among)])


def _fields_of(path: Path, rows: int) -> set[str]:
    """The fields; earlier versions wrote no stems.

    Raises ValueError if the segments are not of so many rows: tantivy trusts the numbers.
    """
    meta = load_json(path.read_bytes(), _META)
    fields = {field["name"]: field["type"] for field in meta["schema"]}
    found = [segment["max_doc"] for segment in meta["segments"]]
    known = {"text": "text", "stems": "text", "row": "u64"}
    right = fields.keys() | {"stems"} == known.keys() and fields.items() <= known.items()
    if not right or min(found, default=0) < 0 or sum(found) != rows:
        raise ValueError(f"meta.json tells of {sum(found)} rows, not {rows}")
    return set(fields)
