"""The leak rule: no reader of the catalogue sees a query or a time that it must not.

Random logs are read by the readers themselves. Most are asked twice: what they make of a log may
not change where what they must not see is taken out of it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisearch.data.catalogue.pairs import evaluation_pairs, training_pairs, window_pairs
from omnisearch.data.catalogue.schema import get_meta, open_catalogue
from omnisearch.data.catalogue.splits import (
    DAY,
    NO_LIMIT,
    Split,
    check_leak,
    evaluation_queries,
    evaluation_window,
    feature_until,
    judged_since,
    known_until,
    known_window,
    later_window,
    ranker_window,
    time_split,
    training_window,
    validation_window,
)
from omnisearch.data.importers.datasets.labels import Splits
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import NotReady
from omnisearch.encoders.config import preset_config
from omnisearch.encoders.training import validate
from omnisearch.encoders.training.dataset import training_data
from omnisearch.engine import ranking_data
from omnisearch.enrichment.boards import enrich_board_titles
from omnisearch.enrichment.engaged_queries import enrich_engaged_queries
from omnisearch.enrichment.graph import training as fitting
from omnisearch.enrichment.graph.itemsage import fit_itemsage
from omnisearch.enrichment.graph.pinsage import fit_pinsage
from omnisearch.evaluation.evaluate import held_out_gains, judged_sets
from omnisearch.evaluation.judging.queries import traffic_of
from omnisearch.indexer.parts.table_open import open_table
from omnisearch.indexer.parts.table_write import write_table
from omnisearch.indexer.signals import related_queries

END = 1_600_000_000  # the last event is the second before
EVAL_FROM, TRAIN_UNTIL, START = END - 7 * DAY, END - 22 * DAY, END - 50 * DAY
RANKED_UNTIL = TRAIN_UNTIL + 14 * DAY
EDGES = (TRAIN_UNTIL - 7 * DAY, TRAIN_UNTIL, RANKED_UNTIL, EVAL_FROM, END)

# 'new' queries are in the log alone.
SPLIT_OF = {f"{split} {n}": split for split in ("train", "valid", "test") for n in range(3)}
QUERIES = (*SPLIT_OF, *(f"plain {n}" for n in range(4)), *(f"new {n}" for n in range(3)))
HELD_OUT = {query for query, split in SPLIT_OF.items() if split != "train"}
ITEMS = {"pin": [f"p{n}" for n in range(6)], "product": [f"g{n}" for n in range(6)]}
ENGAGED = ("save", "long_click", "click", "add_to_cart", "checkout")


@dataclass(frozen=True)
class Log:
    """Events (time, query, entity, item, action), saves (board, entity, item, time or None) and
    judged (query, item)."""

    events: list[tuple[int, str, str, str, str]]
    saves: list[tuple[str, str, str, int | None]]
    judged: list[tuple[str, str]]

    def events_in(self, begins: int, ends: int) -> list[tuple[int, str, str, str, str]]:
        return [event for event in self.events if begins <= event[0] < ends]

    def before(self, time: int) -> Log:
        """Without what happened since, but for the last event, which the split is counted from."""
        return replace(
            self,
            events=[event for event in self.events if event[0] < time or event[1] == "anchor"],
            saves=[save for save in self.saves if save[3] is None or save[3] < time],
        )

    def without(self, queries: set[str]) -> Log:
        kept = [e for e in self.events if e[1] not in queries and e[3] not in queries]
        return replace(self, events=kept)


def times(begins: int) -> st.SearchStrategy[int]:
    edges = [time + off for time in EDGES for off in (-1, 0) if begins <= time + off < END]
    return st.sampled_from(edges) | st.integers(begins, END - 1)


@st.composite
def logs(draw: Any, begins: int = START) -> Log:
    """Logs from `begins` to END: both ends have an impression."""
    time, query = times(begins), st.sampled_from(QUERIES)
    kind = st.sampled_from([(e, i) for e, ids in ITEMS.items() for i in (*ids, "gone")])
    action = st.sampled_from((*ENGAGED, "impression"))
    of_items = st.tuples(time, query, kind, action).map(lambda e: (e[0], e[1], *e[2], e[3]))
    related = st.tuples(time, query, st.just("query"), query, st.just("click"))
    events = draw(st.lists(of_items | related, min_size=40, max_size=90))
    ends = [(t, "anchor", "pin", "gone", "impression") for t in (begins, END - 1)]
    save = st.tuples(st.sampled_from(["oak", "elm", "ash"]), kind, st.none() | time)
    saves = draw(st.lists(save, max_size=25, unique_by=lambda s: s[:2]))
    judged = draw(st.lists(st.tuples(query, st.sampled_from(ITEMS["pin"])), max_size=12))
    return Log([*events, *ends], [(b, *item, t) for b, item, t in saves], sorted(set(judged)))


@contextmanager
def catalogue(log: Log) -> Iterator[tuple[Workspace, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.create(Path(folder) / "workspace")
        with closing(open_catalogue(workspace.catalogue, create=True)) as db:
            fill(db, log)
            yield workspace, db


def fill(db: Any, log: Log) -> None:
    db["pins"].insert_all({"id": key, "title": f"pin {key}"} for key in ITEMS["pin"])
    db["products"].insert_all({"id": key, "title": f"product {key}"} for key in ITEMS["product"])
    db["boards"].insert_all({"id": board, "title": board} for board in ("oak", "elm", "ash"))
    known = [query for query in QUERIES if not query.startswith("new")]
    db["queries"].insert_all({"id": q, "text": q, "split": SPLIT_OF.get(q)} for q in known)
    fill_events(db, log.events)
    names = ("board_id", "entity", "item_id", "added_at")
    db["board_items"].insert_all(dict(zip(names, save, strict=True)) for save in log.saves)
    db["judgments"].insert_all(
        {"query": query, "entity": "pin", "item_id": item, "judge": "j", "grade": 1.0}
        for query, item in log.judged
    )
    db.conn.commit()


def learned(log: Log) -> dict[str, Any]:
    """What training, validation, features and the graph make of a log."""
    with catalogue(log) as (_, db):
        enrich_engaged_queries(db)
        enrich_board_titles(db)
        found = {name: column(db, name) for name in ("engaged_queries", "board_titles")}
        split = time_split(db)
        pairs = training_pairs(db, split, may_be_none=True)
        left, valid = validate.hold_out(db, split, pairs, preset_config("demo"))
        found |= {f"training: {name}": table.to_pylist() for name, table in left.items()}
        found |= {f"validation: {name}": table.to_pylist() for name, table in valid.items()}
        rows = {entity: {key: n for n, key in enumerate(ids)} for entity, ids in ITEMS.items()}
        items: Any = SimpleNamespace(row_of=rows)
        found["training's queries"] = training_data(db, items, left).queries
    return found


def fill_events(db: Any, events: list[tuple[int, str, str, str, str]]) -> None:
    names = ("time", "query", "entity", "item_id", "action")
    db["engagements"].insert_all(
        dict(zip(names, event, strict=True)) | {"event": number, "count": 1}
        for number, event in enumerate(events)
    )


def column(db: Any, name: str) -> list[Any]:
    tables = " UNION ALL ".join(f"SELECT id, {name} FROM {table}" for table in ("pins", "products"))
    return db.conn.execute(f"{tables} ORDER BY id").fetchall()


def indexed(log: Log) -> tuple[dict[str, Any], list[str]]:
    """Engaged queries and related queries, as an index holds them."""
    with catalogue(log) as (workspace, db):
        enrich_engaged_queries(db)
        engaged = {}
        for entity, ids in {**ITEMS, "query": list(QUERIES)}.items():
            folder = workspace.root / entity
            folder.mkdir()
            write_table(folder, db, entity, sorted(ids))
            (found,) = open_table(folder, entity).engaged.parts
            engaged[entity] = [part.tolist() for part in (found.keys, found.rows, found.weights)]
        return engaged, related_queries(db)


def fitted(log: Log) -> tuple[np.ndarray, ...]:
    """The two graph embeddings, fitted in a few steps."""
    with catalogue(log) as (workspace, db):
        features = [fit(workspace, db, dim=8) for fit in (fit_pinsage, fit_itemsage)]
        return tuple(np.array(feature.vectors) for feature in features)


def measured(log: Log) -> set[str]:
    """The queries that are measured, by a plain reading of the log."""
    found = {query for query, split in SPLIT_OF.items() if split == "test"}
    for _, query, entity, item, action in log.events_in(EVAL_FROM, END):
        there = item != query if entity == "query" else item in ITEMS[entity]
        if action != "impression" and there:
            found.add(query)
    return found


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Many validation pairs of few training pairs; few steps of the graph networks, in one thread
    (several add up in any order)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validate, "_LARGEST_SHARE", 1.0)
        patch.setattr(fitting, "FEWEST", 2)
        patch.setattr(fitting, "EPOCHS", 0)
        yield
    torch.set_num_threads(threads)


@settings(max_examples=40)
@given(logs())
def test_what_comes_after_training_changes_nothing_that_is_learned(log: Log) -> None:
    assert learned(log) == learned(log.before(TRAIN_UNTIL))
    assert indexed(log) == indexed(log.before(TRAIN_UNTIL))


@settings(max_examples=40)
@given(logs())
def test_queries_kept_for_validation_and_test_change_nothing_that_is_learned(log: Log) -> None:
    found = learned(log)
    assert found == learned(log.without(HELD_OUT))
    assert not HELD_OUT & set(found["training's queries"])


@settings(max_examples=8)
@given(logs())
def test_graph_embeddings_know_neither_what_comes_later_nor_queries_kept_back(log: Log) -> None:
    allowed = log.before(TRAIN_UNTIL).without(HELD_OUT)
    for found, expected in zip(fitted(log), fitted(allowed), strict=True):
        np.testing.assert_array_equal(found, expected)


@settings(max_examples=40)
@given(logs())
def test_validation_is_of_the_last_week_of_training(log: Log) -> None:
    week = log.events_in(TRAIN_UNTIL - 7 * DAY, TRAIN_UNTIL)
    earlier = log.events_in(START, TRAIN_UNTIL - 7 * DAY)
    with catalogue(log) as (_, db):
        split = time_split(db)
        pairs = training_pairs(db, split, may_be_none=True)
        left, valid = validate.hold_out(db, split, pairs, preset_config("demo"))
    trained = {
        (row["query"], row["entity"], row["item_id"])
        for table in left.values()
        for row in table.to_pylist()
    }
    for entity, table in valid.items():
        for pair in table.to_pylist():
            key = pair["query"], entity, pair["item_id"]
            assert any(event[1:4] == key for event in week)
            seen = any(e[1:4] == key and e[4] != "impression" for e in earlier)
            assert pair["seen"] == seen
            assert seen or key not in trained


@settings(max_examples=60)
@given(logs(), st.sampled_from([TRAIN_UNTIL, TRAIN_UNTIL + 3 * DAY, RANKED_UNTIL]))
def test_rankers_learn_from_no_query_that_is_measured(log: Log, known: int) -> None:
    options = ranking_data.RankingOptions()
    with catalogue(log) as (_, db):
        found = evaluation_queries(db)
        window = ranker_window(time_split(db), known, options.window_days)
        logged = ranking_data._logged(db, window, found, options)
        judged = ranking_data._judged(db, found, options)
    assert found == measured(log)
    assert {query for query, *_ in logged} == {
        query
        for _, query, entity, _, action in log.events_in(known, RANKED_UNTIL)
        if entity in ITEMS and action != "impression" and query not in {*SPLIT_OF, *found}
    }
    assert {query for query, *_ in judged} == {
        query for query, _ in log.judged if SPLIT_OF.get(query) in (None, "valid")
    } - found
    # What was engaged outside the window is no label.
    with catalogue(replace(log, events=log.events_in(known, RANKED_UNTIL))) as (_, db):
        assert ranking_data._logged(db, window, found, options) == logged


@settings(max_examples=40)
@given(logs())
def test_evaluation_measures_its_window_and_the_queries_kept_for_test(log: Log) -> None:
    with catalogue(log) as (_, db), catalogue(replace(log, events=log.events[:0])) as (_, late):
        pairs = evaluation_pairs(db, time_split(db))
        fill_events(late, log.events_in(EVAL_FROM, END))
        assert pairs == window_pairs(late, (0, NO_LIMIT))
        in_window = {query for table in pairs.values() for query in table["query"].to_pylist()}
        found = measured(log)
        assert in_window <= found == in_window | {q for q, s in SPLIT_OF.items() if s == "test"}
        assert set(held_out_gains(db)) <= in_window
        judged = {query for gains in judged_sets(db).values() for query in gains}
        assert judged == {query for query, _ in log.judged} & found
        assert set(traffic_of(db)) == {event[1] for event in log.events_in(EVAL_FROM, END)}


@settings(max_examples=30)
@given(logs(begins=TRAIN_UNTIL))
def test_a_short_log_is_all_training_and_measures_nothing(log: Log) -> None:
    options = ranking_data.RankingOptions()
    trainable = {
        (query, item)
        for _, query, entity, item, action in log.events
        if action in ("save", "long_click") and entity == "pin" and item in ITEMS["pin"]
    }
    with catalogue(log) as (_, db):
        split = time_split(db)
        assert split == Split(END, END, END)
        assert evaluation_pairs(db, split) == held_out_gains(db) == {}
        assert evaluation_queries(db) == {q for q, s in SPLIT_OF.items() if s == "test"}
        assert ranking_data._logged(db, ranker_window(split, 0, 14), set(), options) == {}
        assert feature_until(db) == NO_LIMIT and judged_since(db) == 0
        table = training_pairs(db, split, may_be_none=True)["pin"]
        pairs = zip(table["query"].to_pylist(), table["item_id"].to_pylist(), strict=True)
        assert set(pairs) == {(query, item) for query, item in trainable if query not in HELD_OUT}
        enrich_engaged_queries(db)
        enrich_board_titles(db)
        check_leak(db, split)
        titled = {item for item, titles in column(db, "board_titles") if titles}
    assert titled == {item for _, _, item, _ in log.saves if item != "gone"}


@given(
    st.builds(lambda days, off: days * DAY + off, st.integers(1, 60), st.sampled_from([0, 1, -1])),
    st.integers(-5, 25).map(lambda days: TRAIN_UNTIL + days * DAY),
    st.integers(0, 40),
)
def test_windows_do_not_overlap(span: int, known: int, days: int) -> None:
    ends = [(END - 1 - span, "q", "pin", "p0", "save"), (END - 1, "q", "pin", "p0", "save")]
    with catalogue(Log(ends, [], [])) as (_, db):
        split = time_split(db)
        until = feature_until(db)
    training, evaluation = training_window(split), evaluation_window(split)
    rankers, validation = ranker_window(split, known, days), validation_window(split)
    assert split.evaluates == (span >= 22 * DAY)
    assert training[0] < validation[0] < validation[1] == training[1]
    assert known_window(until)[1] == later_window(until)[0]
    if not split.evaluates:
        assert training[1] == END
        assert all(begins >= ends for begins, ends in (evaluation, rankers, later_window(until)))
        return
    assert evaluation == (END - 7 * DAY, END)
    assert training[1] == until == evaluation[0] - 15 * DAY
    if rankers[0] < rankers[1]:
        assert training[1] <= rankers[0] >= known and rankers[1] <= evaluation[0]


@settings(max_examples=20)
@given(logs(), st.integers(TRAIN_UNTIL + 1, END))
def test_features_that_know_more_stop_training_and_evaluation(log: Log, until: int) -> None:
    with catalogue(log) as (_, db):
        enrich_engaged_queries(db, until=until)
        split = time_split(db)
        assert known_until({"engaged_until": get_meta(db, "engaged_until")}) == until
        for read in (training_pairs, evaluation_pairs):
            with pytest.raises(NotReady, match="leak"):
                read(db, split)
        for read in (evaluation_queries, judged_sets, held_out_gains):
            with pytest.raises(NotReady, match="leak"):
                read(db)
        # Where an index holds engaged queries up to then, rankers learn from later searches alone.
        assert ranker_window(split, until, 14)[0] == until


def test_a_query_that_is_held_out_stays_held_out() -> None:
    with catalogue(Log([], [], [])) as (workspace, _):
        splits = Splits(workspace)
        assert {query: splits.of(query, "train") for query in QUERIES} == {
            query: SPLIT_OF.get(query, "train") for query in QUERIES
        }


PACKAGE = Path(__file__).parents[2] / "src" / "omnisearch"
RULE = "data/catalogue/splits.py"
BOUND = "(train_until|eval_from|eval_until)"


def sources() -> Iterator[tuple[str, str]]:
    """(path, text) of the package's modules, but for splits.py."""
    for room in sorted(path for path in PACKAGE.iterdir() if path.is_dir()):
        for path in sorted(room.rglob("*.py")):  # a room is a link: rglob enters it as a root
            name = f"{room.name}/{path.relative_to(room)}"
            if name != RULE:
                yield name, path.read_text()


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("queries chosen by their split", r"\bsplit\s+(IN|IS|NOT)\b|\bsplit\s*(=|<>|!=)\s*'"),
        ("a time measured from a split's", rf"{BOUND}\)*\s*([-+*<>]|[=!]=)"),
        ("a time compared with a split's", rf"[-+*<>]=?\s*\(?\w+\.{BOUND}"),
        ("a split of its own", r"def time_split|class Split\b|\bSplit\(|gap_days|eval_days"),
        ("the age of a save without a time", r"added_at IS|COALESCE\((\w+\.)?added_at"),
    ],
)
def test_no_other_module_has_a_rule_of_its_own(what: str, pattern: str) -> None:
    assert re.search(pattern, (PACKAGE / RULE).read_text()), "the pattern finds the rule itself"
    found = [
        f"{name}: {line.strip()}"
        for name, text in sources()
        for line in text.splitlines()
        if re.search(pattern, line)
    ]
    assert not found, f"{what} belongs into {RULE}"


def test_whoever_splits_the_log_imports_the_one_function_for_it() -> None:
    users = {name: text for name, text in sources() if re.search(r"\btime_split\(", text)}
    assert users
    for name, text in users.items():
        imported = re.findall(r"^from (\S+) import (\([^)]*\)|.*)", text, re.MULTILINE)
        homes = [home for home, names in imported if re.search(r"\btime_split\b", names)]
        assert homes == ["omnisearch.data.catalogue.splits"], name
