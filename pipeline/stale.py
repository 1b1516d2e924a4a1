"""What was made of something else than is there now, and which command makes it anew."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson
import sqlite_utils

from omnisearch.data.catalogue.items import read_items
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, get_meta, set_meta
from omnisearch.data.catalogue.spaces import SPACES
from omnisearch.data.catalogue.vectors import ItemVectors, open_all_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import pointed, read_manifest
from omnisearch.data.workspace.errors import Corrupt, InputError, OmniError
from omnisearch.data.workspace.progress import Progress
from omnisearch.data.workspace.reading import load_json
from omnisearch.enrichment.boards import outdated_boards
from omnisearch.enrichment.engaged_queries import outdated_queries
from omnisearch.enrichment.inputs import (
    EMPTY,
    FIELDS,
    MODALITIES,
    Item,
    graph_hash,
    graph_identity,
    is_current,
    pictures_hash,
    pictures_of,
    stale_captions,
    text_hash,
)

# Vectors made here → what they are made of, and the enricher.
_MADE = {
    "text": ("texts", "text"),
    "image": ("pictures", "images"),
    **{name: ("texts and vectors", "graph") for name in MODALITIES},
}


_NOTED = "stale_items"  # in the catalogue's notes
_MOST_NOTED = 10_000  # ids of an entity type; with more, an update looks at all items


@dataclass(frozen=True)
class Stale:
    """Something stale.

    Attributes:
        name: of the vectors, the column, or the artefact.
        what: what is stale, and why.
        command: makes it anew.
        entity: whose vectors.
        items: the number of items without a current vector.
        ids: those of them whose own inputs changed; None for too many to note.
    """

    name: str
    what: str
    command: str
    entity: str = ""
    items: int = 0
    ids: frozenset[str] | None = frozenset()

    def __str__(self) -> str:
        return f"Stale {self.what}; run `{self.command}`."


def stale(
    workspace: Workspace, db: sqlite_utils.Database, among: Mapping[str, list[str]] | None = None
) -> list[Stale]:
    """All that is stale: item vectors, enriched columns, the export and the rankers.

    Imported vectors are never stale; their missing rows count only beside rows made here.

    Args:
        among: entity type → ids: look at the vectors of these items alone, not at columns that are
            made of the whole log.

    Raises:
        Corrupt: item vectors are damaged.
    """
    found = [each for entity in ITEM_ENTITIES for each in _unnoted(db, entity)]
    for entity in ITEM_ENTITIES:
        ids = None if among is None else among.get(entity, [])
        if ids is None or ids:
            found += _vectors(workspace, db, entity, ids)
    if among is not None:
        return found + list(_artefacts(workspace))
    for entity in ITEM_ENTITIES:
        captions = len(stale_captions(db, entity))
        if captions:
            what = f"captions of {entity}s: {captions:,} of earlier pictures"
            found.append(Stale("captions", what, "omnisearch enrich captions", entity, captions))
    if outdated_queries(db):
        what = "engaged queries of items: of another log"
        found.append(Stale("queries", what, "omnisearch enrich queries"))
    if outdated_boards(db):
        what = "board titles of items: of other boards"
        found.append(Stale("boards", what, "omnisearch enrich boards"))
    return found + list(_artefacts(workspace))


def mend(
    workspace: Workspace,
    db: sqlite_utils.Database,
    progress: Progress | None = None,
    among: Mapping[str, list[str]] | None = None,
) -> list[str]:
    """Embed new and changed texts if the encoder is on this machine; returns what to tell the user.

    These are sentences on what was done, and on what is still stale, except for the export: whoever
    publishes an index writes it. `among` is as of `stale`; items that were stale at the last call
    are looked at too.
    """
    told = []
    if among is not None:
        among = _with_noted(db, among)
    try:
        found = stale(workspace, db, among)
    except Corrupt as error:  # whatever reads these vectors raises
        return [str(error)]
    changed = sum(each.items for each in found if each.name == "text")
    if changed:
        from omnisearch.enrichment.text import refresh_texts

        began = time.monotonic()
        try:
            refresh_texts(workspace, db, progress, among)
            seconds = time.monotonic() - began
            told.append(
                f"Embedded the texts of {changed:,} new and changed items: {seconds:.1f} s."
            )
            found = stale(workspace, db, among)  # again: graph vectors are made of those of texts
        except (InputError, Corrupt) as error:  # the encoder is not here, or is damaged
            told.append(f"New and changed texts were not embedded: {error}")
    _note(db, found)
    return told + [str(each) for each in found if each.name != "export"]


def _with_noted(
    db: sqlite_utils.Database, among: Mapping[str, list[str]]
) -> Mapping[str, list[str]] | None:
    """The items to look at, with those that were stale; None if these were too many to note."""
    noted = get_meta(db, _NOTED, {})
    if None in noted.values():
        return None
    return {
        entity: sorted({*among.get(entity, []), *noted.get(entity, [])}) for entity in ITEM_ENTITIES
    }


def _note(db: sqlite_utils.Database, found: list[Stale]) -> None:
    """Note which items are stale, for the next update."""
    noted: dict[str, list[str] | None] = {}
    for entity in ITEM_ENTITIES:
        ids = [each.ids for each in found if each.entity == entity]
        known = [each for each in ids if each is not None]
        every = sorted(frozenset().union(*known))
        noted[entity] = every if len(known) == len(ids) and len(every) <= _MOST_NOTED else None
    noted = {entity: ids for entity, ids in noted.items() if ids != []}
    if noted != get_meta(db, _NOTED, {}):
        with db.conn:
            set_meta(db, _NOTED, noted)


def _unnoted(db: sqlite_utils.Database, entity: str) -> Iterator[Stale]:
    """Text vectors of before it was noted what they are made of."""
    sql = "SELECT 1 FROM item_vectors WHERE (name, entity) = ('text', ?) AND made_sha256 IS NULL"
    if get_meta(db, "text_encoder") and db.conn.execute(sql, [entity]).fetchone():
        what = (
            f"text vectors of {entity}s: of an earlier OmniSearch, which did not note their texts"
        )
        yield Stale("text", what, "omnisearch enrich text", entity)


def _vectors(
    workspace: Workspace, db: sqlite_utils.Database, entity: str, ids: list[str] | None = None
) -> Iterator[Stale]:
    opened = open_all_vectors(workspace, db, entity)
    made_here = {
        name
        for (name,) in db.conn.execute(
            "SELECT DISTINCT name FROM item_vectors WHERE made_sha256 IS NOT NULL"
        )
    }
    names = [
        name
        for name in _MADE
        if name in made_here and (name not in SPACES or SPACES[name].entity == entity)
    ]
    features = {
        name: _read_by(opened[name], opened)
        for name in names
        if name in MODALITIES and name in opened
    }
    refused = _refused_pictures(workspace, entity) if "image" in names else set()
    changed: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    of: dict[str, set[str]] = {name: set() for name in names}
    for items in read_items(db, entity, ids=ids, columns=_columns(names)) if names else ():
        for item in items:
            for name in names:
                made = _hash(item, name, features.get(name, {}), refused)
                feature = opened.get(name)
                if feature is not None and item["id"] in feature.index:
                    is_stale = not is_current(feature, item["id"], made)
                    changed[name] += is_stale
                else:
                    is_stale = made not in (None, EMPTY)
                    missing[name] += is_stale
                if is_stale and len(of[name]) <= _MOST_NOTED:
                    of[name].add(item["id"])
    for name in names:
        inputs, enricher = _MADE[name]
        parts = []
        feature = opened.get(name)
        if (
            name in features
            and feature is not None
            and feature.made_by != graph_identity(workspace, name, features[name])
        ):
            changed[name] = len(feature.ids)
            parts.append(f"{changed[name]:,} of an earlier network")
        elif changed[name]:
            parts.append(f"{changed[name]:,} of earlier {inputs}")
        if missing[name]:
            parts.append(f"{missing[name]:,} missing")
        if parts:
            command = f"omnisearch enrich {enricher}"
            what = f"{name} vectors of {entity}s: {', '.join(parts)}"
            which = frozenset(of[name]) if len(of[name]) <= _MOST_NOTED else None
            yield Stale(name, what, command, entity, changed[name] + missing[name], which)


def _columns(names: list[str]) -> list[str]:
    """What vectors of these names are made of, the columns of items."""
    read = {
        "text": FIELDS,
        "image": ("image", "more_images"),
        **{
            name: tuple(field for fields in modalities.values() for field in fields)
            for name, modalities in MODALITIES.items()
        },
    }
    return sorted({field for name in names for field in read[name]})


def _hash(
    item: Item, name: str, features: dict[str, ItemVectors], refused: set[tuple[str, str]]
) -> bytes | None:
    if name == "text":
        return text_hash(item)
    if name == "image":
        return pictures_hash([p for p in pictures_of(item) if (item["id"], p) not in refused])
    return graph_hash(item, name, features)


def _read_by(vectors: ItemVectors, opened: dict[str, ItemVectors]) -> dict[str, ItemVectors]:
    """The features that a graph network read, those that still exist."""
    names = orjson.loads(vectors.made_by or "{}").get("features", [])
    return {name: opened[name] for name in names if name in opened}


def _refused_pictures(workspace: Workspace, entity: str) -> set[tuple[str, str]]:
    """(item id, image) of the pictures that could not be read."""
    path = workspace.refused_pictures("images")
    rows = map(orjson.loads, path.read_bytes().splitlines()) if path.exists() else ()
    return {(row["id"], row["image"]) for row in rows if row["entity"] == entity}


def _artefacts(workspace: Workspace) -> Iterator[Stale]:
    """The export and the rankers, if they are of another checkpoint than the live index."""
    from omnisearch.indexer.generation import live_number
    from omnisearch.indexer.segment import GENERATION

    try:
        number = live_number(workspace)
        live = read_manifest(workspace.generation(number), GENERATION)["checkpoint"]
    except (OmniError, KeyError):  # none, or damaged: searching says so
        return
    exports = workspace.exports.iterdir() if workspace.exports.is_dir() else ()
    exported = sorted(path.name for path in exports if not path.name.startswith("."))
    if exported and live not in exported:
        what = f"exported query tower: of checkpoint {exported[-1]}, the live index is of {live}"
        yield Stale("export", what, "omnisearch export onnx")
    trained = _rankers_checkpoint(workspace)
    if trained is not None and trained != live:
        what = f"rankers: of checkpoint {trained}, the live index is of {live}"
        yield Stale("rankers", what, "omnisearch rank train")


def _rankers_checkpoint(workspace: Workspace) -> str | None:
    """The checkpoint that the live rankers were trained with; None if it is not known."""
    from omnisearch.ranker.published import RANKERS

    try:
        folder = pointed(workspace.current_rankers, RANKERS)
        if folder is None:
            return None
        content = (folder / "report.json").read_bytes()
        return str(load_json(content, {"checkpoint": str})["checkpoint"])
    except (OmniError, OSError, ValueError):  # damaged: searching says so
        return None
