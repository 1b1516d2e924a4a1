"""Table 7: stacks of two embeddings, before simulated users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

from omnisearch.data.catalogue.spaces import LEARNED
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.engine.index import Items, SourceRequest
from omnisearch.engine.search import SearchEngine
from omnisearch.evaluation.reproduce.base import base_workspace
from omnisearch.evaluation.reproduce.replaced import CONTROL, NEW, OLD, TRAIN, Searches
from omnisearch.evaluation.reproduce.reproduce import Reproduce
from omnisearch.evaluation.reproduce.spec import Study
from omnisearch.evaluation.reproduce.stack import Embedding, Stack, StackIndex, Stacks
from omnisearch.evaluation.reproduce.studies import trained
from omnisearch.evaluation.reproduce.table7 import (
    FULFILMENT,
    RELEVANCE,
    STACKS,
    acted,
    ceiling,
    changes,
    reproduce_table7,
)
from omnisearch.world.truth import Truth

TINY = {"steps": 20, "warmup_steps": 2, "valid_every": 10}
STUDY = Study("Table 7", pins=300, preset="tiny", train=TINY, searches=300)


@pytest.fixture(scope="module")
def folder(tables_folder) -> Path:
    return tables_folder


@pytest.fixture(scope="module")
def engine(folder) -> Iterator[SearchEngine]:
    base = base_workspace(folder, None, STUDY.pins)
    options = Reproduce(folder, seeds=1)
    workspace = trained(base, STUDY, options, 0, None, train=TRAIN[NEW])
    found = SearchEngine.open(workspace, with_rankers=False, with_rules=False)
    yield found
    found.close()


@pytest.fixture(scope="module")
def embeddings(folder, engine) -> dict[str, Embedding]:
    base, options = base_workspace(folder, None, STUDY.pins), Reproduce(folder, seeds=1)
    found = {}
    for name in (NEW, OLD):
        workspace = trained(base, STUDY, options, 0, None, index=False, train=TRAIN[name])
        found[name] = Embedding(workspace, load_encoder(workspace), engine.snapshot.generation)
    return found


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth.of(STUDY.pins, 7)


def test_an_embedding_has_the_cosines_of_its_own_checkpoint(engine, embeddings) -> None:
    """Those of OmniSearchSage are the generation's; SearchSage finds other items."""
    text, generation = "oak chair", engine.snapshot.generation
    vector = engine.snapshot.encoder.queries([text])[0]
    space = generation.spaces["pin", LEARNED]
    np.testing.assert_allclose(
        embeddings[NEW].cosines(text, "pin"), np.asarray(space.vectors) @ vector, atol=1e-5
    )
    old, new = (embeddings[name].first(text, "pin", 20) for name in (OLD, NEW))
    assert (np.diff(old.scores) <= 0).all() and len(old.rows) == 20
    assert set(old.rows.tolist()) != set(new.rows.tolist())


def test_one_embedding_retrieves_and_the_other_is_seen_by_rankers(engine, embeddings) -> None:
    snapshot = engine.snapshot
    index = StackIndex(snapshot.generation, embeddings[OLD], embeddings[NEW])
    query = snapshot.query("oak chair").with_vector(np.zeros(1, np.float32))
    request = SourceRequest("pin", LEARNED, query, 20, 20)
    (found,) = index.search([request])
    np.testing.assert_array_equal(found.rows, embeddings[OLD].first(query.text, "pin", 20).rows)
    (nothing,) = index.search([replace(request, space="pinsage")])
    assert not len(nothing.rows)
    rows = np.arange(30)
    items = Items(np.zeros(30, np.uint8), rows)
    expected = embeddings[NEW].cosines(query.text, "pin")[rows]
    np.testing.assert_array_equal(index.cosines(query, items, LEARNED), expected)
    assert np.isnan(index.cosines(query, items, "pinsage")).all()
    best = embeddings[NEW].first(query.text, "pin", 5).rows
    first = Items(np.zeros(5, np.uint8), best)
    np.testing.assert_array_equal(index.columns(query, first, ())["learned_rank"], range(1, 6))


def test_stacks_of_one_embedding_show_the_same_and_others_do_not(engine, embeddings) -> None:
    twins = Stacks(engine, {OLD: embeddings[NEW], NEW: embeddings[NEW]}, OLD)
    pages = twins.pages("oak chair", STACKS, 10)
    assert all(page == pages[CONTROL] for page in pages.values()) and len(pages[CONTROL]) == 10
    stacks = Stacks(engine, embeddings, OLD)
    texts = ["oak chair", "red dress", "copper sink", "boho bedroom", "cake"]
    shown = [stacks.pages(text, STACKS, 10) for text in texts]
    for name in ("L2 and relevance", "all three"):  # 150 of 300 pins retrieved: nearly all
        assert any(page[name] != page[CONTROL] for page in shown), name
    alone = stacks.pages("oak chair", {"a": Stack(OLD, OLD, NEW)}, 10)["a"]
    assert alone == shown[0]["L2 and relevance"]  # whatever other stacks are asked


def test_users_act_by_what_is_true_and_alike_on_alike_pages(truth) -> None:
    searches = Searches.drawn(truth, 3000)
    asked, line = np.unique(searches.query, return_inverse=True)
    best = np.array([np.argsort(-truth.chances(query))[:10] for query in asked.tolist()])
    worst = np.array([np.argsort(truth.chances(query))[:10] for query in asked.tolist()])
    good, bad = (acted(truth, searches, page[line]) for page in (best, worst))
    assert good[FULFILMENT].mean() > 0.4 and bad[FULFILMENT].mean() < 0.01
    assert good[RELEVANCE].mean() > 0.3 > bad[RELEVANCE].mean()
    assert good[FULFILMENT].mean() == ceiling(truth, searches)[FULFILMENT]
    again = acted(truth, searches, best[line])
    np.testing.assert_array_equal(good[FULFILMENT], again[FULFILMENT])


def test_a_rise_is_confirmed_where_every_seed_agrees() -> None:
    rng = np.random.default_rng(0)
    user = np.arange(4000) // 4
    found = []
    for _ in range(3):
        values = {
            name: {m: (rng.random(4000) < 0.4) * 1.0 for m in (FULFILMENT, RELEVANCE)}
            for name in STACKS
        }
        values["retrieval"][FULFILMENT] = np.maximum(
            values[CONTROL][FULFILMENT], rng.random(4000) < 0.05
        )
        found.append(values)
    made = {(each.replaced, each.measure): each for each in changes(found, user)}
    rise = made["retrieval", FULFILMENT]
    assert rise.verdict == "confirmed" and rise.decides
    assert rise.low < rise.gain < rise.high and rise.gain == pytest.approx(0.075, abs=0.02)
    assert made["L1", FULFILMENT].verdict == "not decided"
    assert not made["retrieval", RELEVANCE].decides


def test_the_whole_table(folder, engine) -> None:
    text, values = reproduce_table7(STUDY, Reproduce(folder, seeds=1))
    assert (folder / "table7.md").read_text() == text and "+4.1%" in text
    stored = orjson.loads((folder / "table7.json").read_bytes())
    assert [row["replaced"] for row in stored["changes"]][::2] == list(STACKS)[1:]
    assert 0 < values["control"][FULFILMENT] < values["ceiling"][FULFILMENT] < 1
    assert not any(Workspace(each).truth.exists() for each in (folder / "studies").iterdir())


def test_a_workspace_of_ones_own_has_no_simulated_users(engine, tmp_path) -> None:
    with pytest.raises(InputError, match="simulated users"):
        reproduce_table7(STUDY, Reproduce(tmp_path, engine.workspace))
