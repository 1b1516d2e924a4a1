"""Embeddings of items' text by a pretrained encoder, as the continuous feature 'text' (§3.3).

Like PinSage and ItemSage, it is a vector that the item encoder reads. With it, training can start
from the pretrained encoder's knowledge of the language: see `encoders.training.warm_start`.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

import numpy as np
import sqlite_utils

from omnisearch.data.catalogue.items import count, read_items
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, get_meta, set_meta, table_of
from omnisearch.data.catalogue.vector_files import unusable
from omnisearch.data.catalogue.vectors import ItemVectors, open_vectors
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.text.language import probabilities, spoken
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.cache_file import cache_errors, open_cache
from omnisearch.data.workspace.errors import Corrupt, InputError, MissingExtra
from omnisearch.data.workspace.progress import Progress
from omnisearch.encoders.packaged import E5, MINILM, installed
from omnisearch.encoders.text_encoder import (
    FEATURE,
    MAX_TOKENS,
    NOTE,
    TextTower,
    check_encoder,
    encoder_folder,
    form_in,
    weights_digest,
)
from omnisearch.encoders.untrained import any_trained
from omnisearch.enrichment.inputs import FIELDS, hash_rows, is_current, text_hash, texts_of

_SAMPLED = 300  # items whose language is guessed
_LIKELY = 0.3  # the least probability of a text's language; else it tells none
_ENGLISH = 0.5  # the least share of English items that an English encoder fits
_AGAIN = "Run `omnisearch enrich text`."


def item_vectors(texts: Sequence[Sequence[str]], vectors: np.ndarray) -> np.ndarray:
    """(n, d) float32 unit rows: the whole text's vector plus the mean of the prose fields'.

    A field alone is closer to a query about it than with others, and a long description is cut
    later. `docs/results/warm-start.md` has the figures.

    Args:
        texts: n lists as of `texts_of`, none empty.
        vectors: float32 (m, d), the unit vectors of all their texts, in order.
    """
    sizes = np.array([len(of_item) for of_item in texts])
    weights = np.repeat(1 / np.maximum(sizes - 1, 1), sizes)
    starts = np.cumsum(sizes) - sizes
    weights[starts] = 1
    summed = np.add.reduceat(vectors * weights[:, None].astype(np.float32), starts, axis=0)
    return summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12)


def usual_encoder(db: sqlite_utils.Database) -> dict[str, Any] | None:
    """Arguments for `embed_texts`: those of the last run, else the first that fits, or None."""
    note = get_meta(db, NOTE)
    if note:
        return {name: note[name] for name in ("backbone", "pooling", "max_tokens")}
    return next(({"backbone": name} for name in fitting_encoders(db)), None)


def fitting_encoders(db: sqlite_utils.Database) -> list[str]:
    """The packaged encoders that are installed and read the items' languages.

    Where at least half of the items are in English, MiniLM and e5, else e5 alone.
    """
    names = (MINILM, E5) if english_share(db) >= _ENGLISH else (E5,)
    return [name for name in names if installed(name)]


def english_share(db: sqlite_utils.Database) -> float:
    """The share of items that are in English; of items without a language a sample is read."""
    english = total = 0.0
    for entity in ITEM_ENTITIES:
        table = table_of(entity)
        for where, share in (("LIKE 'en%'", 1.0), ("NOT LIKE 'en%'", 0.0), ("IS NULL", None)):
            (rows,) = db.execute(f"SELECT COUNT(*) FROM {table} WHERE language {where}").fetchone()
            total += rows
            if rows:
                english += rows * (_looks_english(db, entity) if share is None else share)
    return english / total if total else 1.0


def _looks_english(db: sqlite_utils.Database, entity: str) -> float:
    """The share of English among items without a language, those whose text tells none left out."""
    rows = db.execute(
        f"SELECT id FROM {table_of(entity)} WHERE language IS NULL ORDER BY id"
    ).fetchall()
    rows = rows[:: -(-len(rows) // _SAMPLED)]
    found = []
    for items in read_items(db, entity, ids=sorted(key for (key,) in rows), columns=FIELDS):
        for text in (spoken(normalise_query(of[0])) for item in items if (of := texts_of(item))):
            if text:
                language, share = next(iter(probabilities(text).items()))
                if share >= _LIKELY:
                    found.append(language == "en")
    return float(np.mean(found)) if found else 1.0


def embed_texts(
    workspace: Workspace,
    db: sqlite_utils.Database,
    backbone: str | None = None,
    pooling: str | None = None,
    max_tokens: int = MAX_TOKENS,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the feature 'text' for all items with text: unit rows, float32 (n, hidden size).

    Rows that the same encoder made of the same texts stay, and so do rows imported among them;
    rows of another encoder are replaced. Vectors of texts that were embedded before come from
    `text_cache.db` in the workspace, so that a killed run can be continued.

    Args:
        backbone: folder or hub name of an encoder, 'minilm' (English) or 'e5' (100 languages), by
            the extras `minilm` and `multilingual`; by default `usual_encoder`'s.
        pooling: 'mean', 'cls' or 'last'; by default as the encoder's files tell.
        max_tokens: longer texts are cut, at most the encoder's own limit.

    Returns:
        The encoder and why it was chosen; counts: items, computed, dim; `train_again` if vectors
        of another encoder were replaced.

    Raises:
        InputError: the encoder does not exist or gives NaN, or no item has text.
        MissingExtra: there is no encoder.
        Corrupt: `text_cache.db` is damaged.
    """
    english = english_share(db)
    if backbone is None:
        found = usual_encoder(db)
        if found is None:
            extra = "minilm" if english >= _ENGLISH else "multilingual"
            raise MissingExtra("A text encoder", extra, where=f"{english:.0%} of items in English")
        backbone = found["backbone"]
    tower = TextTower(encoder_folder(workspace, backbone), max_tokens, pooling=pooling)
    counts: dict[str, Any] = {"encoder": backbone, "items_in_english": f"{english:.0%}"}
    counts |= _embed(workspace, db, tower, progress)
    before = get_meta(db, NOTE) or {}
    note = {"backbone": backbone, "max_tokens": max_tokens, **asdict(tower.form)}
    note |= {"weights": weights_digest(tower.model)}
    with db.conn:
        set_meta(db, NOTE, note)
    if before.get("weights", note["weights"]) != note["weights"] and any_trained(workspace):
        counts["train_again"] = True
    return counts


def refresh_texts(
    workspace: Workspace,
    db: sqlite_utils.Database,
    progress: Progress | None = None,
    among: Mapping[str, Sequence[str]] | None = None,
    tower: TextTower | None = None,
) -> dict[str, int]:
    """Like `embed_texts` with the encoder of the last run, from files on this machine only.

    Args:
        among: entity type → the ids of the items to look at; None for all.
        tower: what `open_tower` returned before.

    Raises:
        InputError: as `open_tower`.
    """
    return _embed(workspace, db, tower or open_tower(workspace, db), progress, among)


def open_tower(workspace: Workspace, db: sqlite_utils.Database) -> TextTower:
    """The encoder of the last run of `embed_texts`.

    Raises:
        InputError: there was no run, or its encoder is not on this machine or has changed.
    """
    note = get_meta(db, NOTE)
    if note is None:
        raise InputError("No encoder has embedded the items' text.", how=_AGAIN)
    folder = encoder_folder(workspace, note["backbone"])
    tower = TextTower(folder, note["max_tokens"], form_in(note), local=True)
    check_encoder(db, note["backbone"], tower.model)
    return tower


def _embed(
    workspace: Workspace,
    db: sqlite_utils.Database,
    tower: TextTower,
    progress: Progress | None,
    among: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, int]:
    """Embed the items whose text is new or has changed, and drop the rows of those without."""
    made_by = f"{weights_digest(tower.model)} {tower.form.pooling} {tower.max_tokens}"
    made_by += f" {tower.form.item}".rstrip()
    total = sum(count(db, entity) for entity in ITEM_ENTITIES)
    done = computed = embedded = 0
    with _Cache(workspace, made_by) as cache:
        for entity in ITEM_ENTITIES:
            old = _rows_of(workspace, db, entity, made_by)
            looked_at = None if among is None or old is None else among.get(entity, ())
            ids: list[str] = []
            hashes: list[bytes] = []
            worded: set[str] = set()
            with tempfile.TemporaryFile(dir=workspace.root) as file:
                for items in read_items(db, entity, ids=looked_at, columns=FIELDS, batch_size=1024):
                    texts = {}
                    for item in items:
                        made = text_hash(item)
                        if made is None:
                            continue
                        worded.add(item["id"])
                        if old is None or not is_current(old, item["id"], made):
                            texts[item["id"]] = texts_of(item)
                            hashes.append(made)
                    rows, new = cache.vectors(list(chain.from_iterable(texts.values())), tower)
                    if texts:
                        file.write(item_vectors(list(texts.values()), rows).tobytes())
                    ids.extend(texts)
                    computed += new
                    done += len(items)
                    if progress:
                        progress(done, total)
                embedded += len(worded)
                had = {} if old is None else old.index
                asked = had if looked_at is None else looked_at
                gone = [key for key in asked if key in had and key not in worded]
                if ids or gone:
                    file.flush()
                    vectors = np.zeros((0, tower.dim), dtype=np.float32)
                    if ids:
                        vectors = np.memmap(file, np.float32, "r", shape=(len(ids), tower.dim))
                    write_vectors(
                        workspace, db, FEATURE, entity, ids, vectors, replace=old is None,
                        drop=set(gone), made=hash_rows(hashes), made_by=made_by,
                    )  # fmt: skip
    if not embedded and among is None:
        raise InputError(
            "No item has text to embed.", how="Import titles, descriptions or captions first."
        )
    return {"items": embedded, "computed": computed, "dim": tower.dim}


def _rows_of(
    workspace: Workspace, db: sqlite_utils.Database, entity: str, made_by: str
) -> ItemVectors | None:
    """The rows that this encoder made; None if another did, or if they are damaged."""
    try:
        found = open_vectors(workspace, db, FEATURE, entity)
    except Corrupt:
        return None
    return found if found is not None and found.made_by == made_by else None


class _Cache:
    """Vectors by encoder and text, float16 in SQLite; the file may be deleted."""

    def __init__(self, workspace: Workspace, encoder: str) -> None:
        self.path, self.encoder = workspace.text_cache, encoder

    def __enter__(self) -> _Cache:
        self.connection = open_cache(
            self.path, "vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID"
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def vectors(self, texts: Sequence[str], tower: TextTower) -> tuple[np.ndarray, int]:
        """(n, dim) float32 unit rows, and how many of them had to be computed."""
        keys = [self._key(text) for text in texts]
        known = {key: vector for key in set(keys) if (vector := self._get(key, tower.dim))}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            rows = tower(list(missing.values())).astype("<f2")
            bad = unusable(rows.astype(np.float32))
            if bad.size:
                text = list(missing.values())[bad[0]][:60]
                raise InputError(
                    f"The encoder gives NaN or infinity for {text!r}.", how="Use another encoder."
                )
            new = {key: row.tobytes() for key, row in zip(missing, rows, strict=True)}
            with cache_errors(self.path), self.connection:
                self.connection.executemany(
                    "INSERT OR REPLACE INTO vectors VALUES (?, ?)", new.items()
                )
            known |= new
        joined = b"".join(known[key] for key in keys)
        found = np.frombuffer(joined, dtype="<f2").reshape(len(keys), tower.dim)
        return found.astype(np.float32), len(missing)

    def _key(self, text: str) -> bytes:
        named = f"{self.encoder}\n{text}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(named, digest_size=16).digest()

    def _get(self, key: bytes, dim: int) -> bytes | None:
        with cache_errors(self.path):
            found = self.connection.execute("SELECT vector FROM vectors WHERE key = ?", [key])
            row = found.fetchone()
        if not row or not isinstance(row[0], bytes) or len(row[0]) != 2 * dim:
            return None
        return row[0] if np.isfinite(np.frombuffer(row[0], "<f2")).all() else None
