"""A text encoder tuned to the log, to embed the items by (`encoders.training.tune`).

Before there is a log, it is tuned to the items' own texts: their titles stand for queries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import sqlite_utils

from omnisearch.data.catalogue.items import field_texts, read_items
from omnisearch.data.catalogue.left_out import LeftOut, some
from omnisearch.data.catalogue.log_left_out import training_left_out
from omnisearch.data.catalogue.pairs import training_pairs
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, get_meta, set_meta, table_of
from omnisearch.data.catalogue.soft_labels import soft_labels
from omnisearch.data.catalogue.splits import time_split
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import sweep, write_manifest
from omnisearch.data.workspace.counts import counted
from omnisearch.data.workspace.errors import NotReady
from omnisearch.data.workspace.files import new_folder
from omnisearch.data.workspace.progress import Progress
from omnisearch.encoders.config import preset_config
from omnisearch.encoders.form import write_form
from omnisearch.encoders.models.query import write_backbone
from omnisearch.encoders.packaged import MINILM
from omnisearch.encoders.text_encoder import (
    MAX_TOKENS,
    TUNED,
    TUNED_PREFIX,
    TextTower,
    encoder_folder,
    weights_digest,
)
from omnisearch.encoders.text_encoder import (
    NOTE as TEXT_NOTE,
)
from omnisearch.encoders.training.tune import (
    BATCH,
    MOST_STEPS,
    PASSES,
    GradedLists,
    TextPairs,
    distil,
    mean_reciprocal_rank,
    tune,
)
from omnisearch.encoders.training.validate import hold_out
from omnisearch.enrichment.inputs import FIELDS, PROSE, texts_of
from omnisearch.enrichment.text import embed_texts, fitting_encoders, usual_encoder

NOTE = "tuned_encoder"  # key in the catalogue's meta table
FEWEST = 500  # pairs; from fewer an encoder learns these queries, and forgets others
_HELD_OUT = 2_000  # pairs to measure by
_OTHERS = 4_000  # items that they are searched among, beside their own

ItemKey = tuple[str, str]  # entity, item id


@dataclass(frozen=True)
class _Log:
    """(query, item) of the pairs to learn from, and of those held out to measure by.

    Attributes:
        left_out: pairs of the log that are not learned from.
    """

    learned: list[tuple[str, ItemKey]]
    held_out: list[tuple[str, ItemKey]]
    left_out: list[LeftOut]


def when_of_use(db: sqlite_utils.Database) -> dict[str, Any] | None:
    """Arguments for `tune_encoder`; None without an encoder, after a tuning, or with few pairs.

    A log that has grown tunes the encoder again if only the items' own texts have tuned it.
    """
    note = get_meta(db, NOTE)
    if usual_encoder(db) is None or (note and not note.get("own_texts")):
        return None
    if len(_read_log(db).learned) < FEWEST and (note or not _has_own_pairs(db)):
        return None
    return {}


def tune_encoder(
    workspace: Workspace,
    db: sqlite_utils.Database,
    backbone: str | None = None,
    pooling: str | None = None,
    max_tokens: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Tune a pretrained encoder to the log, and embed all items with it if it became better.

    It learns from what `omnisearch train` learns from, without the pairs that validate that
    training, and then from the grades of a teacher for the same queries, if there is one. On these
    pairs it must find items better after each of the two: else the encoder stays as it was. From a
    log of fewer than FEWEST pairs nothing is learned, and a title leads to its item's other texts.
    `progress` counts steps, and from 0 again the items embedded.

    Args:
        backbone, pooling, max_tokens: as for `embed_texts`. Tuning begins with this encoder, by
            default with that of the last tuning, else of the items' text, else with the one of
            `fitting_encoders` that finds the pairs best as it is; what is not given is that
            encoder's.

    Returns:
        Counts: of several encoders that fit the mean reciprocal rank of each; pairs, the mean
        reciprocal rank before and after, and those of `embed_texts`; and what was `left_out` of
        the log, and why.

    Raises:
        InputError: the encoder does not exist.
        NotReady: the log has fewer than FEWEST pairs, and so few items have two texts.
    """
    if backbone is not None:
        encoder_folder(workspace, backbone)  # a wrong name is told before the log is read
    begin: dict[str, Any] = {"backbone": None, "pooling": None, "max_tokens": MAX_TOKENS}
    if backbone is None:
        embedded = usual_encoder(db) if get_meta(db, TEXT_NOTE) else None
        begin |= (get_meta(db, NOTE) or {}).get("begin") or embedded or {}
    given = {"backbone": backbone, "pooling": pooling, "max_tokens": max_tokens}
    begin |= {name: value for name, value in given.items() if value is not None}
    log = _read_log(db)
    own_texts = len(log.learned) < FEWEST
    learned, held_out, others = _own_pairs(db) if own_texts else _with_texts(db, log)
    if own_texts and len(learned) + len(held_out) < FEWEST:
        raise NotReady(
            f"The log has {counted(len(log.learned), 'pair')} of a query and an item that it led "
            f"to, and fewer than {FEWEST:,} items have a title and another text. To tune an "
            f"encoder takes {FEWEST:,} of either.",
            how="Import more engagements, or use the encoder as it is: `omnisearch enrich text`.",
        )
    names = [begin["backbone"]] if begin["backbone"] else fitting_encoders(db) or [MINILM]
    names = names[:1] if own_texts else names  # what people search for decides between encoders
    measured, before = {}, -1.0
    for name in names:
        each = TextTower(
            encoder_folder(workspace, name), begin["max_tokens"], pooling=begin["pooling"]
        )
        measured[name] = mean_reciprocal_rank(each, held_out, others) if len(held_out) else 0.0
        if measured[name] > before:
            tower, before, begin["backbone"] = each, measured[name], name
    tower.prune(_every_text(db, learned))
    tune(tower, learned, progress=progress)
    after = mean_reciprocal_rank(tower, held_out, others) if len(held_out) else 1.0
    counts = {f"mrr_{name}": round(value, 3) for name, value in measured.items()}
    counts = counts if len(names) > 1 else {}
    counts |= {"pairs": len(learned), "mrr_before": round(before, 3), "mrr_after": round(after, 3)}
    if own_texts:
        few = f"fewer than {FEWEST:,}; titles and the items' other texts are learned from"
        unused = [LeftOut(len(log.learned), "pairs", few)]
    else:
        unused = [LeftOut(len(log.learned) - len(learned), "pairs", "their item has no text")]
    left_out = training_left_out(db, time_split(db)) + some([*log.left_out, *unused])
    taught = _taught(workspace, db, log)
    if len(taught) and len(held_out):
        state = {name: weights.clone() for name, weights in tower.model.state_dict().items()}
        distil(tower, taught, progress)
        found = mean_reciprocal_rank(tower, held_out, others)
        counts |= {"taught_queries": len(taught), "mrr_taught": round(found, 3)}
        if found <= after:
            tower.model.load_state_dict(state)
        after = max(after, found)
    name = ""
    if after > before:
        name = _write(workspace, tower)
        counts |= embed_texts(workspace, db, name, None, tower.max_tokens, progress)
    elif get_meta(db, TEXT_NOTE) is None:
        counts |= embed_texts(workspace, db, **begin, progress=progress)
    with db.conn:
        set_meta(db, NOTE, {"begin": begin} | ({"own_texts": True} if own_texts else {}))
    if name:
        sweep(workspace.text_encoders, keep=[name])
    return counts | {"left_out": [asdict(each) for each in left_out]}


def _write(workspace: Workspace, tower: TextTower) -> str:
    """Write the encoder; returns its name."""
    name = f"{TUNED_PREFIX}{weights_digest(tower.model)[:16]}"
    folder = workspace.text_encoders / name
    if not folder.exists():
        with new_folder(folder) as unfinished:
            tower.model.save_pretrained(unfinished)  # type: ignore[union-attr, operator]
            write_backbone(unfinished, tower.model, tower.tokeniser.hub_tokeniser)
            write_form(unfinished, tower.form)
            write_manifest(unfinished, TUNED)
    return name


def _read_log(db: sqlite_utils.Database) -> _Log:
    """The pairs of the log; the held-out ones are those of a training with default settings."""
    split = time_split(db)
    pairs = training_pairs(db, split, may_be_none=True)
    left, valid = hold_out(db, split, pairs, preset_config("demo"))
    whole, learned = (
        {pair for name, table in tables.items() if name != "query" for pair in _pairs(table)}
        for tables in (pairs, left)
    )
    most = MOST_STEPS * BATCH
    left_out = [
        LeftOut(pairs["query"].num_rows, "pairs of two queries", "tuning needs an item's text"),
        LeftOut(len(whole - learned), "pairs", "the tuned encoder is measured by them"),
        LeftOut(max(0, len(learned) - most), "pairs", f"tuning learns from {most:,} at most"),
    ]
    held_out = {
        (query, (entity, key))
        for entity, table in valid.items()
        if entity != "query"
        for query, key in zip(table["query"].to_pylist(), table["item_id"].to_pylist(), strict=True)
    }
    return _Log(_drawn(learned, most), _drawn(held_out - learned, _HELD_OUT), left_out)


def _drawn(pairs: set[tuple[str, ItemKey]], most: int) -> list[tuple[str, ItemKey]]:
    """At most so many of the pairs, in order: no more texts are read than are needed."""
    found = sorted(pairs)
    if len(found) <= most:
        return found
    rows = np.random.default_rng(0).choice(len(found), most, replace=False)
    return [found[row] for row in np.sort(rows)]


def _pairs(table: pa.Table) -> list[tuple[str, ItemKey]]:
    queries, entities, ids = (table[name].to_pylist() for name in ("query", "entity", "item_id"))
    return list(zip(queries, zip(entities, ids, strict=True), strict=True))


def _with_texts(
    db: sqlite_utils.Database, log: _Log
) -> tuple[TextPairs, TextPairs, list[list[str]]]:
    """The pairs with the texts of their items, and texts of other items, at most _OTHERS."""
    paired = {item for _, item in (*log.learned, *log.held_out)}
    texts: dict[ItemKey, list[str]] = {}
    others: list[list[str]] = []
    generator, seen = np.random.default_rng(0), 0
    for entity in ITEM_ENTITIES:
        for items in read_items(db, entity, columns=FIELDS):
            for item in items:
                found = texts_of(item)
                if not found:
                    continue
                if (entity, item["id"]) in paired:
                    texts[entity, item["id"]] = found
                    continue
                seen += 1  # reservoir sampling
                if len(others) < _OTHERS:
                    others.append(found)
                elif (place := int(generator.integers(seen))) < _OTHERS:
                    others[place] = found
    return _paired(log.learned, texts), _paired(log.held_out, texts), others


def _has_own_pairs(db: sqlite_utils.Database) -> bool:
    """Whether `_own_pairs` finds at least FEWEST."""
    found = 0
    for entity in ITEM_ENTITIES:
        other = " OR ".join(f"coalesce({field}, '') NOT IN ('', title)" for field in PROSE[1:])
        sql = f"SELECT 1 FROM {table_of(entity)} WHERE title <> '' AND ({other}) LIMIT {FEWEST}"
        found += len(db.conn.execute(sql).fetchall())
    return found >= FEWEST


def _own_pairs(
    db: sqlite_utils.Database,
) -> tuple[TextPairs, TextPairs, list[list[str]]]:
    """Titles with their items' captions and descriptions: to learn from, and held out to measure
    by; and other items' texts to search these among.
    """
    most = MOST_STEPS * BATCH // PASSES + _HELD_OUT  # what fits into the steps of a tuning
    found: list[tuple[str, list[str]]] = []
    generator, seen = np.random.default_rng(0), 0
    for entity in ITEM_ENTITIES:
        for items in read_items(db, entity, columns=PROSE):
            for item in items:
                title, *texts = field_texts(item, PROSE) or [""]
                texts = [text for text in texts if text != title]
                if not item.get("title") or not texts:
                    continue
                seen += 1  # reservoir sampling
                if len(found) < most:
                    found.append((normalise_query(title), texts))
                elif (place := int(generator.integers(seen))) < most:
                    found[place] = (normalise_query(title), texts)
    found = [found[row] for row in generator.permutation(len(found)).tolist()]
    held_out = min(_HELD_OUT, len(found) // 10)
    learned, measured = (
        TextPairs([title for title, _ in part], np.arange(len(part)), [texts for _, texts in part])
        for part in (found[held_out:], found[:held_out])
    )
    return learned, measured, learned.texts[:_OTHERS]


def _every_text(db: sqlite_utils.Database, pairs: TextPairs) -> Iterator[str]:
    """The queries, and all items' texts."""
    yield from pairs.queries
    for entity in ITEM_ENTITIES:
        for items in read_items(db, entity, columns=FIELDS):
            yield from chain.from_iterable(map(texts_of, items))


def _taught(workspace: Workspace, db: sqlite_utils.Database, log: _Log) -> GradedLists:
    """What a teacher graded for the queries of the pairs to learn from."""
    asked = {query for query, _ in log.learned}
    held_out = set(log.held_out)
    grades: dict[str, dict[ItemKey, float]] = {}
    for (query, entity, item_id), (share, _) in soft_labels(workspace).items():
        item = (entity, item_id)
        if query in asked and (query, item) not in held_out:
            grades.setdefault(query, {})[item] = share
    wanted = {item for items in grades.values() for item in items}
    texts: dict[ItemKey, list[str]] = {}
    for entity in ITEM_ENTITIES:
        ids = sorted(item_id for of, item_id in wanted if of == entity)
        for batch in read_items(db, entity, ids=ids, columns=FIELDS):
            texts |= {(entity, item["id"]): found for item in batch if (found := texts_of(item))}
    row = {item: number for number, item in enumerate(texts)}
    lists = GradedLists([], [], [], list(texts.values()))
    for query, items in sorted(grades.items()):
        known = [item for item in items if item in row]
        if len(known) > 1:
            lists.queries.append(normalise_query(query))
            lists.items.append(np.array([row[item] for item in known], np.int64))
            lists.grades.append(np.array([items[item] for item in known], np.float32))
    return lists


def _paired(pairs: list[tuple[str, ItemKey]], texts: dict[ItemKey, list[str]]) -> TextPairs:
    found = [(query, item) for query, item in pairs if item in texts]
    row = {item: number for number, item in enumerate(dict.fromkeys(item for _, item in found))}
    return TextPairs(
        [normalise_query(query) for query, _ in found],
        np.array([row[item] for _, item in found], dtype=np.int64),
        [texts[item] for item in row],
    )
