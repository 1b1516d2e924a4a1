"""The BEIR layout, in and out: `corpus.jsonl`, `queries.jsonl`, `qrels/{train,dev,test}.tsv`.

A document becomes a pin, or the entity in its metadata if `export_beir` wrote it. Positive training
judgments also become saves (derived from labels).
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import orjson
import sqlite_utils

from omnisearch.data.catalogue.items import read_items
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, open_catalogue
from omnisearch.data.importers.datasets.labels import derived, note_derived
from omnisearch.data.importers.readers import open_source
from omnisearch.data.importers.rows import FIELDS
from omnisearch.data.importers.transaction import Report
from omnisearch.data.importers.translate import Translate, Values, file_of, take
from omnisearch.data.importers.value_checks import Refused, number
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.files import new_folder
from omnisearch.data.workspace.progress import Progress

_QRELS = (("test", "test"), ("dev", "valid"), ("train", "train"))  # file, split
_FILES = {"train": "train", "valid": "dev", "test": "test"}


def import_beir(
    workspace: Workspace, folder: Path, progress: Progress | None = None
) -> list[Report]:
    """Import a BEIR folder; document ids are kept, the judge is 'beir'.

    A query's split is that of the first qrels file it is in (test, then dev, then train).
    """
    corpus = file_of(folder, "corpus.jsonl")
    listed = file_of(folder, "queries.jsonl")
    qrels = [
        (split, path)
        for name, split in _QRELS
        if (path := folder / "qrels" / f"{name}.tsv").is_file()
    ]
    if not qrels:
        raise InputError(
            "The folder has no qrels/test.tsv, dev.tsv or train.tsv.", where=str(folder)
        )
    splits: dict[str, str] = {}
    for split, path in qrels:
        for row in open_source(path).rows:
            if row.values is not None and row.values.get("query-id"):
                splits.setdefault(row.values["query-id"], split)
    texts: dict[str, str] = {}
    entities: dict[str, tuple[str, str]] = {}

    def query(values: Values) -> list[Values]:
        texts[str(values["_id"])] = values["text"]
        given = values.get("metadata") or {}
        kept = {key: given[key] for key in ("language", "country") if key in given}
        return [{"text": values["text"], "split": splits.get(str(values["_id"])), **kept}]

    def item(values: Values) -> tuple[str, str]:
        return entities.get(values["corpus-id"], ("pin", values["corpus-id"]))

    def judged(values: Values) -> tuple[str, float]:
        text = texts.get(values["query-id"])
        if text is None:
            raise Refused("query-id", "names a query that does not exist", values["query-id"])
        score = number(values["score"], "score", -1000, 1000)
        if score is None:
            raise Refused("score", "is missing")
        return text, score

    def judgment(values: Values) -> list[Values]:
        text, score = judged(values)
        entity, key = item(values)
        row = {"query": text, "entity": entity, "item_id": key, "grade": score}
        return [row | {"judge": "beir"}]

    def engagement(values: Values) -> list[Values]:
        text, score = judged(values)
        entity, key = item(values)
        return [derived(text, key, entity, "save")] if score > 0 else []

    reports = [take(workspace, corpus, "pins", _documents("pin", entities), progress)]
    if any(entity == "product" for entity, _ in entities.values()):
        products = _documents("product", entities)
        reports.append(take(workspace, corpus, "products", products, progress))
    reports.append(take(workspace, listed, "queries", query, progress))
    reports += [take(workspace, path, "judgments", judgment, progress) for _, path in qrels]
    for split, path in qrels:
        if split == "train":
            note_derived(workspace, "beir")
            reports.append(take(workspace, path, "engagements", engagement, progress))
    return reports


def _documents(entity: str, entities: dict[str, tuple[str, str]]) -> Translate:
    """Documents of one entity type as its rows; `entities` gets those that are not plain pins."""
    known = FIELDS["pins" if entity == "pin" else "products"]

    def rows(values: Values) -> list[Values]:
        key = str(values["_id"])
        given = values.get("metadata") or {}
        of = given.get("entity")
        if of not in ITEM_ENTITIES:  # the data set's own metadata, not ours
            of, given = "pin", {}
        own = str(given.get("id", key))
        if (of, own) != ("pin", key):
            entities[key] = (of, own)
        if of != entity:
            return []
        row = {"title": values.get("title"), "description": values.get("text")}
        return [row | {name: given[name] for name in known if name in given} | {"id": own}]

    return rows


def export_beir(workspace: Workspace, folder: Path) -> dict[str, int]:
    """Write pins and products, judged queries and judgments as a new BEIR folder.

    A document's title and text are the item's title and description; all else is in its metadata.
    If several judges graded a pair, the mean is written. Queries without a split go to test.
    Returns how many documents, queries and judgments were written.

    Raises:
        InputError: the folder exists and is not empty.
    """
    folder = Path(folder)
    if folder.exists():
        if not folder.is_dir() or any(folder.iterdir()):
            raise InputError("It already exists.", where=str(folder), how="Name a new folder.")
        folder.rmdir()
    db = open_catalogue(workspace.catalogue)
    try:
        with new_folder(folder) as temporary:
            return {
                "documents": _write_corpus(db, temporary / "corpus.jsonl"),
                "queries": _write_queries(db, temporary / "queries.jsonl"),
                "judgments": _write_qrels(db, temporary / "qrels"),
            }
    finally:
        db.conn.close()


def _write_corpus(db: sqlite_utils.Database, path: Path) -> int:
    written = 0
    with path.open("wb") as file:
        for entity in ITEM_ENTITIES:
            for batch in read_items(db, entity):
                shared = _shared_ids(db, [item["id"] for item in batch]) if entity != "pin" else ()
                for item in batch:
                    file.write(orjson.dumps(_document(item, entity, item["id"] in shared)) + b"\n")
                written += len(batch)
    return written


def _document(item: dict[str, Any], entity: str, shared: bool) -> dict[str, Any]:
    key = item["id"]
    metadata = {"entity": entity} | ({"id": key} if shared else {})
    for name, value in item.items():
        if value is not None and name not in ("id", "title", "description"):
            metadata[name] = value
    return {
        "_id": f"{entity}:{key}" if shared else key,
        "title": item["title"] or "",
        "text": item["description"] or "",
        "metadata": metadata,
    }


def _shared_ids(db: sqlite_utils.Database, ids: list[str]) -> set[str]:
    """Those product ids that are also ids of pins."""
    rows = db.conn.execute(
        "SELECT id FROM pins WHERE id IN (SELECT value FROM json_each(?))",
        [orjson.dumps(ids).decode()],
    )
    return {row[0] for row in rows}


def _write_queries(db: sqlite_utils.Database, path: Path) -> int:
    """The judged queries, numbered q1, q2, .. in the order of their ids."""
    db.conn.execute(
        "CREATE TEMP TABLE numbered AS SELECT ROW_NUMBER() OVER (ORDER BY id) AS number, * "
        "FROM queries WHERE id IN (SELECT query FROM judgments WHERE entity <> 'query')"
    )
    db.conn.execute("CREATE UNIQUE INDEX temp.numbered_id ON numbered (id)")
    written = 0
    with path.open("wb") as file:
        for number_, text, language, country in db.conn.execute(
            "SELECT number, text, language, country FROM numbered ORDER BY number"
        ):
            about = {"language": language, "country": country}
            metadata = {key: value for key, value in about.items() if value}
            entry = {"_id": f"q{number_}", "text": text, "metadata": metadata}
            file.write(orjson.dumps(entry) + b"\n")
            written += 1
    return written


def _write_qrels(db: sqlite_utils.Database, folder: Path) -> int:
    folder.mkdir()
    cursor = db.conn.execute(
        "SELECT q.split, q.number, j.entity, j.item_id, AVG(j.grade), "
        "j.entity = 'product' AND EXISTS (SELECT 1 FROM pins WHERE id = j.item_id) "
        "FROM judgments j JOIN numbered q ON q.id = j.query WHERE j.entity <> 'query' "
        "GROUP BY j.query, j.entity, j.item_id ORDER BY q.number, j.entity, j.item_id"
    )
    files: dict[str, TextIO] = {}
    written = 0
    with ExitStack() as stack:
        for split, number_, entity, item_id, grade, shared in cursor:
            name = _FILES[split or "test"]
            if name not in files:
                path = folder / f"{name}.tsv"
                files[name] = stack.enter_context(path.open("w", encoding="utf-8"))
                files[name].write("query-id\tcorpus-id\tscore\n")
            key = f"{entity}:{item_id}" if shared else item_id
            files[name].write(f"q{number_}\t{key}\t{grade:g}\n")
            written += 1
    return written
