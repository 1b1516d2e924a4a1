"""The Parquet files of the sample world, log and board items; one row group per block."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from omnisearch.data.catalogue.schema import ACTIONS
from omnisearch.world.boards import board_id
from omnisearch.world.itemtext import item_id
from omnisearch.world.lexicon import LANGUAGES
from omnisearch.world.population import Population
from omnisearch.world.production import Production
from omnisearch.world.querypool import QueryPool
from omnisearch.world.sessions import Rows, session_times, simulate
from omnisearch.world.templates import COUNTRIES

_WORD = pa.dictionary(pa.int32(), pa.string())
LOG_SCHEMA = pa.schema(
    [
        ("time", pa.int64()),
        ("query", pa.string()),
        ("entity", _WORD),
        ("item_id", pa.string()),
        ("action", _WORD),
        ("count", pa.int64()),
        ("language", _WORD),
        ("country", _WORD),
        ("surface", _WORD),
        ("session", pa.string()),
        ("position", pa.int64()),
    ]
)
BOARD_ITEMS_SCHEMA = pa.schema(
    [
        ("board_id", pa.string()),
        ("entity", _WORD),
        ("item_id", pa.string()),
        ("added_at", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Log:
    """Inputs of the log's simulation; `related` is (q, r) int64 query numbers, `users` (u,) int8
    languages of users."""

    production: Production
    related: np.ndarray
    users: np.ndarray

    @property
    def items(self) -> Population:
        return self.production.items

    @property
    def queries(self) -> QueryPool:
        return self.production.queries


def write_log(
    folder: Path,
    log: Log,
    sessions: int,
    rng: np.random.Generator,
    advance: Callable[[int], None],
) -> dict[str, int | float]:
    """Write engagements.parquet; returns row counts and the share of items engaged with."""
    ids = _ids(log.items)
    texts = pa.array(log.queries.text)
    by_language = [np.flatnonzero(log.users == number) for number in range(len(LANGUAGES))]
    countries = sorted({code for codes in COUNTRIES.values() for code in codes})
    country_of = _user_countries(log.users, countries)
    engaged = np.zeros(len(log.items), dtype=bool)
    tally = {"impressions": 0, "engagements": 0}
    times = session_times(sessions, rng)
    path = folder / "engagements.parquet"
    with pq.ParquetWriter(path, LOG_SCHEMA, compression="zstd") as writer:
        first = 0
        for query, rows in simulate(log.production, log.related, times, rng):
            user = _users(log, query, by_language, rng)
            names = pa.array([f"u{who:06d}-{first + n:07d}" for n, who in enumerate(user.tolist())])
            here = rows.session - first
            shown = rows.action == ACTIONS.index("impression")
            engaged[rows.target[~shown & ~rows.is_query]] = True
            tally["impressions"] += int(shown.sum())
            tally["engagements"] += int((~shown).sum())
            writer.write_table(
                pa.table(
                    [
                        pa.array(rows.time),
                        texts.take(pa.array(rows.query)),
                        _entities(log.items, rows),
                        _targets(ids, texts, rows),
                        _dictionary(rows.action, ACTIONS),
                        pa.array(np.ones(len(rows), dtype=np.int64)),
                        _dictionary(log.queries.language[rows.query], LANGUAGES),
                        _dictionary(country_of[user[here]], countries),
                        _dictionary(rows.offsite, ("search", "offsite")),
                        names.take(pa.array(here)),
                        pa.array(rows.position, mask=rows.position == 0),
                    ],
                    schema=LOG_SCHEMA,
                )
            )
            first += len(query)
            advance(len(query))
    return tally | {"engaged_share": round(float(engaged.mean()), 4)}


def write_board_items(
    folder: Path, items: Population, blocks: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> dict[str, int]:
    """Write board_items.parquet from blocks of (board row, item row, time)."""
    ids = _ids(items)
    total = 0
    path = folder / "board_items.parquet"
    with pq.ParquetWriter(path, BOARD_ITEMS_SCHEMA, compression="zstd") as writer:
        for board, row, time in blocks:
            names = pa.array([board_id(number) for number in range(int(board.max()) + 1)])
            columns = [
                names.take(pa.array(board)),
                _dictionary(row >= items.pins, ("pin", "product")),
                ids.take(pa.array(row)),
                pa.array(time),
            ]
            writer.write_table(pa.table(columns, schema=BOARD_ITEMS_SCHEMA))
            total += len(row)
    return {"board_items": total}


def _ids(items: Population) -> pa.Array:
    return pa.array([item_id(items, row) for row in range(len(items))])


def _dictionary(codes: np.ndarray, names: Iterable[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(list(names)))


def _entities(items: Population, rows: Rows) -> pa.DictionaryArray:
    codes = np.where(rows.is_query, 2, rows.target >= items.pins)
    return _dictionary(codes, ("pin", "product", "query"))


def _targets(ids: pa.Array, texts: pa.Array, rows: Rows) -> pa.Array:
    item = ids.take(pa.array(np.where(rows.is_query, 0, rows.target)))
    query = texts.take(pa.array(np.where(rows.is_query, rows.target, 0)))
    return pc.if_else(pa.array(rows.is_query), query, item)


def _users(
    log: Log, query: np.ndarray, by_language: list[np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """A user for each session, one who speaks the query's language if there is any."""
    anyone = np.arange(len(log.users))
    language = log.queries.language[query]
    user = np.empty(len(query), dtype=np.int64)
    for number, speakers in enumerate(by_language):
        mine = language == number
        user[mine] = rng.choice(speakers if len(speakers) else anyone, int(mine.sum()))
    return user


def _user_countries(users: np.ndarray, countries: list[str]) -> np.ndarray:
    """(u,) codes into `countries`: a country where the user's language is spoken."""
    codes = np.empty(len(users), dtype=np.int64)
    for number, language in enumerate(LANGUAGES):
        mine = np.flatnonzero(users == number)
        names = COUNTRIES[language]
        codes[mine] = [countries.index(names[user % len(names)]) for user in mine.tolist()]
    return codes
