"""Writes finished judgments into the catalogue, for rankers and evaluation to use."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import orjson
import sqlite_utils

from omnisearch.data.catalogue.schema import ITEM_ENTITIES, table_of
from omnisearch.data.workspace.errors import InputError
from omnisearch.evaluation.judged import JUDGING, set_of, top_grades
from omnisearch.evaluation.judging.answers import all_answers
from omnisearch.evaluation.judging.folder import Judging, Pair
from omnisearch.evaluation.judging.scale import GAINS, RESULTS
from omnisearch.evaluation.judging.verdicts import verdicts_of

Key = tuple[str, str, str, str]  # query, entity, item id, judge


@dataclass(frozen=True)
class Applied:
    """Counts of applied judgments.

    Attributes:
        pairs: finished pairs, whose judgments are now in the catalogue.
        added, changed, removed: rows of the catalogue; all 0 if nothing is new.
        gone: finished pairs whose item is no longer in the catalogue.
    """

    pairs: int
    added: int
    changed: int
    removed: int
    gone: int


def apply(judging: Judging, db: sqlite_utils.Database) -> Applied:
    """Replace the catalogue's judgments of this judging with those of its finished pairs, in one
    transaction.

    A pair is finished when it is settled (`evaluation.judging.verdicts`). Rows have the judge
    'judging:<name>:<judge>', so other judgments stay as they are and a second call changes
    nothing. A grade is written as its gain (`evaluation.judging.scale`) times the highest grade
    that other judges gave in the item's data set, so that the scales agree; times 1 if there are
    no other judges.

    Raises:
        InputError: the judging is of captions, or another process is writing to the catalogue.
    """
    if judging.design.form != RESULTS:
        raise InputError(
            "Judgments of captions are not for the catalogue: they are of no query.",
            where=str(judging.folder),
            how=f"Read them with `omnisearch judge report {judging.name}`.",
        )
    answers = all_answers(judging)
    verdicts = verdicts_of(judging, answers)
    finished = [pair for key, pair in judging.pairs.items() if verdicts[key].settled]
    prefix = f"{JUDGING}{judging.name}:"
    with _transaction(db):
        kept = _in_catalogue(db, finished)
        tops = top_grades(db, without=JUDGING)
        rows: dict[Key, float] = {}
        for judge, given in answers.items():
            for pair in kept:
                grade = given.get(pair.id)
                if grade is not None:
                    key = (pair.query, pair.entity, pair.item_id, prefix + judge)
                    rows[key] = GAINS[grade] * tops.get(set_of(pair.item_id), 1.0)
        added, changed, removed = _replace(db, prefix, rows, judging.design.drawn_at)
        db.conn.executemany(
            "INSERT OR IGNORE INTO queries (id, text) VALUES (?, ?)",
            sorted({(pair.query, pair.text) for pair in kept}),
        )
    return Applied(len(kept), added, changed, removed, gone=len(finished) - len(kept))


@contextmanager
def _transaction(db: sqlite_utils.Database) -> Iterator[None]:
    try:
        db.conn.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        raise InputError(
            f"Another process is writing to the catalogue ({error}).",
            where="catalogue",
            how="Wait until it has finished, then run this again.",
        ) from error
    with db.conn:
        yield


def _in_catalogue(db: sqlite_utils.Database, pairs: Iterable[Pair]) -> list[Pair]:
    kept: list[Pair] = []
    for entity in ITEM_ENTITIES:
        of_entity = [pair for pair in pairs if pair.entity == entity]
        found = db.conn.execute(
            f"SELECT id FROM {table_of(entity)} WHERE id IN (SELECT value FROM json_each(?))",
            [orjson.dumps([pair.item_id for pair in of_entity]).decode()],
        )
        ids = {key for (key,) in found}
        kept += [pair for pair in of_entity if pair.item_id in ids]
    return kept


def _replace(
    db: sqlite_utils.Database, prefix: str, rows: dict[Key, float], time: int
) -> tuple[int, int, int]:
    """Replace the rows of judges whose names begin with `prefix` by `rows`; returns how many were
    added, changed and removed."""
    found = db.conn.execute(
        "SELECT query, entity, item_id, judge, grade FROM judgments "
        "WHERE substr(judge, 1, length(?1)) = ?1",
        [prefix],
    )
    before: dict[Key, float] = {row[:4]: row[4] for row in found}
    new = {key: grade for key, grade in rows.items() if before.get(key) != grade}
    removed = before.keys() - rows.keys()
    db.conn.executemany(
        "DELETE FROM judgments WHERE query = ? AND entity = ? AND item_id = ? AND judge = ?",
        sorted(removed),
    )
    db.conn.executemany(
        "INSERT OR REPLACE INTO judgments (query, entity, item_id, judge, grade, time) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        [(*key, grade, time) for key, grade in new.items()],
    )
    changed = len(new.keys() & before.keys())
    return len(new) - changed, changed, len(removed)
