"""Draws a judging of machine captions, uniformly over broad categories of items (§3.2.1)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import sqlite_utils

from omnisearch.data.catalogue.items import decoded
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, table_of
from omnisearch.data.workspace.errors import NotReady
from omnisearch.evaluation.compare import catalogue_rows
from omnisearch.evaluation.judged import Item, data_notes
from omnisearch.evaluation.judging.draw import pair_id
from omnisearch.evaluation.judging.folder import Design, Judging, Pair, write_judging
from omnisearch.evaluation.judging.queries import equal_shares
from omnisearch.evaluation.judging.scale import CAPTIONS
from omnisearch.evaluation.wording import plain
from omnisearch.indexer.parts.suggest_write import PATH, categories_of

BROAD = 20  # categories, the most common ones
OTHER = "other"  # the category of items in none of them
_LABELS = ("attributes", "product_types", "board_titles")
_MADE = """EXISTS (
    SELECT 1 FROM machine_captions made WHERE made.entity = :entity AND made.item_id = item.id
    AND made.caption = item.caption AND made.image = item.image
)"""
_IMPORTED = "caption <> ''"

Captioned = tuple[Item, set[str]]  # an item, and its labels


def draw_captions(judging: Judging, db: sqlite_utils.Database, number: int, seed: int) -> None:
    """Draw `number` pictures with captions and write the judging's folder.

    Each category gives equally many, at random; one with too few gives all, and the others fill
    the gap. Captions are those that `enrich captions` made, of the pictures that the items show
    now. Only if it made none, imported captions are drawn. A picture is drawn once, however many
    items show it.

    Raises:
        InputError: the name is taken.
        NotReady: no item has a picture and a caption.
    """
    judging.check_free()
    notes = data_notes(db)
    random = np.random.default_rng(seed)
    with db.conn:
        db.conn.execute("BEGIN")  # the items are read three times, in one state
        which = _MADE
        if not any(_captioned(db, which)):
            which = _IMPORTED
            notes.append("No captions were made here: these were imported.")
        drawn = _draw(_categories(db, which), number, random)
        rows = catalogue_rows(db, set(drawn))
    if not drawn:
        raise NotReady(
            "No item has a picture and a caption.",
            where="catalogue",
            how="Run `omnisearch enrich captions --model MODEL`, or import a column `caption`.",
        )
    pairs = [_pair(item, rows[item], category) for item, category in drawn.items()]
    design = Design(
        systems=[],
        k=0,
        seed=seed,
        generation=0,
        checkpoint="",
        drawn_at=int(time.time()),
        notes=notes,
        form=CAPTIONS,
    )
    write_judging(judging.folder, design, [], pairs, [])


def _captioned(db: sqlite_utils.Database, which: str) -> Iterator[Captioned]:
    """The first item of each picture, by type and id."""
    seen: set[str] = set()
    for entity in ITEM_ENTITIES:
        table = table_of(entity)
        columns = [name for name in _LABELS if name in db[table].columns_dict]
        rows = db.conn.execute(
            f"SELECT id, image, {', '.join(columns)} FROM {table} item "
            f"WHERE image <> '' AND {which} ORDER BY id",
            {"entity": entity},
        )
        for key, image, *values in rows:
            if image not in seen:
                seen.add(image)
                yield (entity, key), _labels(decoded(dict(zip(columns, values, strict=True))))


def _labels(item: dict[str, Any]) -> set[str]:
    """The uppermost categories of an item, or else the titles of its boards."""
    names = categories_of(item) or item.get("board_titles") or []
    tops = (plain(name.partition(PATH)[0]).casefold() for name in names)
    return {top for top in tops if top}


def _categories(db: sqlite_utils.Database, which: str) -> dict[str, list[Item]]:
    """Category → its items. An item is in the most common one of its labels."""
    counts = Counter(label for _, labels in _captioned(db, which) for label in labels)
    broad = sorted(counts, key=lambda label: (-counts[label], label))[:BROAD]
    members: dict[str, list[Item]] = {}
    for item, labels in _captioned(db, which):
        category = next((label for label in broad if label in labels), OTHER)
        members.setdefault(category, []).append(item)
    return members


def _draw(
    members: Mapping[str, Sequence[Item]], number: int, random: np.random.Generator
) -> dict[Item, str]:
    """Item → category, in random order."""
    names = sorted(members, key=lambda name: (-len(members[name]), name))
    shares = equal_shares([len(members[name]) for name in names], number)
    drawn = [
        (members[name][row], name)
        for name, share in zip(names, shares, strict=True)
        for row in random.choice(len(members[name]), share, replace=False).tolist()
    ]
    return dict(drawn[row] for row in random.permutation(len(drawn)).tolist())


def _pair(item: Item, row: Mapping[str, Any], category: str) -> Pair:
    return Pair(
        id=pair_id(row["caption"], item),
        query="",
        text=plain(row["caption"]),
        entity=item[0],
        item_id=item[1],
        title="",
        description="",
        brand="",
        price=None,
        currency="",
        image=plain(row["image"]),
        link="",
        category=category,
    )
