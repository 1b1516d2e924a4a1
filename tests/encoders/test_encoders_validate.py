"""The validation pairs, and what counts against them."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
from small_catalogue import fill

from omnisearch.data.catalogue.pairs import training_pairs
from omnisearch.data.catalogue.splits import time_split
from omnisearch.data.workspace import Workspace
from omnisearch.encoders.config import preset_config
from omnisearch.encoders.training import validate
from omnisearch.encoders.training.prepare import prepare
from omnisearch.encoders.training.retrieval_eval import ahead
from omnisearch.encoders.training.validate import Validator, hold_out


@pytest.fixture
def labels(tmp_path, monkeypatch):
    """A catalogue whose engagements all have one time, as imported labels have."""
    monkeypatch.setattr(validate, "_LARGEST_SHARE", 0.3)
    workspace = Workspace.create(tmp_path / "labels")
    with closing(fill(workspace)) as db:
        db.conn.execute("UPDATE engagements SET time = 1000")
        db.conn.commit()
        yield workspace, db


def test_some_queries_are_held_out_whole(labels) -> None:
    """A checkpoint that only knows its training queries must not win."""
    _, db = labels
    pairs = training_pairs(db, time_split(db))
    left, valid = hold_out(db, time_split(db), pairs, preset_config("demo"))
    for entity, table in valid.items():
        trained = {
            query
            for of_set in left.values()
            if of_set["entity"][0].as_py() == entity
            for query in of_set["query"].to_pylist()
        }
        found = set(table["query"].to_pylist())
        assert found - trained and found & trained, entity
        whole = found - trained
        all_pairs = {
            (query, item)
            for of_set in pairs.values()
            if of_set.num_rows and of_set["entity"][0].as_py() == entity
            for query, item in zip(
                of_set["query"].to_pylist(), of_set["item_id"].to_pylist(), strict=True
            )
        }
        held = set(zip(table["query"].to_pylist(), table["item_id"].to_pylist(), strict=True))
        assert {pair for pair in all_pairs if pair[0] in whole} <= held


def test_other_items_of_a_query_do_not_count_against_its_item(labels) -> None:
    workspace, db = labels
    config = preset_config("tiny", dim=32, warm_steps=0)
    prepared = prepare(workspace, db, config, None)
    made = Validator(prepared.data, prepared.valid, config, prepared.pieces, prepared.pad)
    led_to = {
        (query, item)
        for query, item in db.conn.execute(
            "SELECT query, item_id FROM engagements WHERE entity = 'pin' AND action <> 'impression'"
            " AND action IN ('save', 'long_click')"
        )
    }
    found = made.sets["pin"]
    ids, (start, _) = prepared.data.items.ids["pin"], prepared.data.items.span["pin"]
    for number in range(len(found.queries)):
        query = prepared.data.queries[found.queries[number]]
        own = ids[found.targets[number] - start]
        mine = found.others[1][found.others[0] == number]
        skipped = {ids[found.corpus[place] - start] for place in mine}
        assert skipped == {item for of, item in led_to if of == query and item != own}


def test_skipped_rows_are_not_counted() -> None:
    rng = np.random.default_rng(0)
    queries, corpus = rng.normal(size=(9, 4)), rng.normal(size=(20, 4))
    rows = rng.integers(0, 20, 9)
    skip = rng.integers(0, 9, 30), rng.integers(0, 20, 30)
    found = ahead(queries, corpus[rows], corpus, rows, skip)
    for pair in range(9):
        left = set(range(20)) - {rows[pair]} - set(skip[1][skip[0] == pair].tolist())
        own = queries[pair] @ corpus[rows[pair]]
        assert found[pair] == sum(queries[pair] @ corpus[row] >= own for row in left)
