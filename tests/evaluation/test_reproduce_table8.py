"""Table 8: stacks of ads of two embeddings, before simulated users."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import orjson
import pytest
from scipy import stats

from omnisearch.data.catalogue.schema import ACTIONS
from omnisearch.data.workspace.errors import InputError, NotReady
from omnisearch.engine import ad_training
from omnisearch.engine.auction import auction
from omnisearch.evaluation.reproduce import ad_stack
from omnisearch.evaluation.reproduce.ad_stack import AdStack, AdStacks
from omnisearch.evaluation.reproduce.replaced import (
    CONTROL,
    NEW,
    OLD,
    embeddings_of,
    interval_text,
    over_trainings,
)
from omnisearch.evaluation.reproduce.reproduce import Reproduce
from omnisearch.evaluation.reproduce.spec import Study
from omnisearch.evaluation.reproduce.table8 import (
    CLICKED,
    PLACES,
    RELEVANCE,
    SHOWN,
    STACKS,
    campaigns_of,
    changes,
    expected,
    reproduce_table8,
)
from omnisearch.world.population import END
from omnisearch.world.sessions import acts
from omnisearch.world.truth import Truth

TINY = {"steps": 20, "warmup_steps": 2, "valid_every": 10}
STUDY = Study("Table 8", pins=300, preset="tiny", train=TINY, searches=300)


@pytest.fixture(scope="module", autouse=True)
def few() -> Iterator[None]:
    """A world of 300 pins has few long clicks and judgments: enough for a model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ad_training, "FEWEST", 2)
        yield


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth.of(STUDY.pins, 7)


def test_the_clicks_to_be_expected_are_those_that_users_make(truth) -> None:
    """`expected` beside many draws of the click model."""
    rng = np.random.default_rng(0)
    query = rng.integers(0, len(truth.queries.text), 40)
    best = [np.argsort(-truth.chances(each))[:3] for each in query.tolist()]
    page = np.array(best)
    page[::4, 2] = -1
    says = expected(truth, query, page)
    many = np.repeat(np.arange(len(query)), 400)
    whole = np.full((len(many), 10), -1)
    whole[:, PLACES - 1] = page[many]
    relevant = np.where(whole >= 0, truth.relevance(query[many][:, None], whole), 0.0)
    session = (np.full(len(many), END), np.arange(len(many)), query[many])
    clicks = sum(
        int((part[5] == ACTIONS.index("long_click")).sum())
        for part in acts(truth.items, truth.queries, whole, relevant, session, rng)
    )
    assert clicks / 400 == pytest.approx(says[CLICKED].sum(), rel=0.03)
    assert says[SHOWN].tolist() == (page >= 0).sum(axis=1).tolist()


@pytest.mark.slow
def test_stacks_of_one_embedding_have_the_same_ads_and_others_have_not(tables_folder, truth):
    engine, embeddings = embeddings_of(STUDY, Reproduce(tables_folder, seeds=1), 0, None)
    campaigns = [replace(each, countries=(), languages=()) for each in campaigns_of(truth)]
    asked = [truth.queries.text[at] for at in range(0, 60)]
    twins = AdStacks(engine, dict.fromkeys(embeddings, embeddings[NEW]), OLD, campaigns, END + 1)
    stacks = AdStacks(engine, embeddings, OLD, campaigns, END + 1)
    alike, apart = ([of.ads(text, "en", "US", STACKS) for text in asked] for of in (twins, stacks))
    assert any(ads[CONTROL] for ads in alike)
    assert all(each == ads[CONTROL] for ads in alike for each in ads.values())
    for name in list(STACKS)[1:]:
        assert any(ads[name] != ads[CONTROL] for ads in apart), name
    alone = stacks.ads(asked[0], "en", "US", {"a": AdStack(OLD, OLD, NEW)})["a"]
    assert alone == apart[0]["relevance model"]  # whatever other stacks are asked
    sold = {key for each in campaigns for _, key in each.items}
    assert {key for ads in apart for each in ads.values() for key in each} <= sold
    over = AdStacks(engine, embeddings, OLD, campaigns, -1.0)
    assert not any(over.ads(asked[0], "en", "US", STACKS).values())
    engine.close()


def test_a_rise_is_confirmed_where_every_seed_agrees() -> None:
    rng = np.random.default_rng(0)
    user, found = np.arange(4000) // 4, []
    for _ in range(3):
        of = {
            name: {
                SHOWN: rng.integers(0, 4, 4000).astype(float),
                CLICKED: rng.random(4000) * 0.2,
                RELEVANCE: rng.random(4000),
            }
            for name in STACKS
        }
        of["retrieval"] = {**of[CONTROL], CLICKED: of[CONTROL][CLICKED] * 1.1}
        found.append(of)
    made = {each.replaced: each for each in changes(found, user)}
    rise = made["retrieval"]
    assert rise.verdict == "confirmed" and rise.gain == pytest.approx(0.1)
    assert rise.low < 0.1 < rise.high or rise.low == pytest.approx(rise.high)
    assert rise.trainings == (pytest.approx(0.1), pytest.approx(0.1))
    assert rise.ads == 0 and rise.relevance == 0
    assert made["engagement model"].verdict == "not decided"


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of two stacks that are equally good: 95 of 100 intervals hold 0."""
    rng, holds = np.random.default_rng(1), 0
    for _ in range(200):
        user = rng.integers(0, 200, 800)
        liking = rng.random(200)[user]
        of = {
            name: {
                SHOWN: n,
                CLICKED: rng.binomial(n.astype(int), 0.3 * liking).astype(float),
                RELEVANCE: n,
            }
            for name in STACKS
            for n in [rng.integers(1, 4, 800).astype(float)]
        }
        change = changes([of], user)[0]
        holds += change.low <= 0 <= change.high
    assert 180 <= holds <= 198


def test_the_interval_over_trainings_is_that_of_a_t_test() -> None:
    gains = np.array([0.016, 0.038, 0.011, -0.005, 0.062])
    expected = stats.ttest_1samp(gains, 0.0).confidence_interval()
    assert over_trainings(gains) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert interval_text(*over_trainings(gains[:1])) == "–"


@pytest.mark.slow
def test_the_whole_table(tables_folder, monkeypatch) -> None:
    options = Reproduce(tables_folder, seeds=1)
    # No relevance model of so small a world is sure of anything.
    monkeypatch.setattr(ad_stack, "auction", lambda *args: auction(*args[:-1], 0.0))
    text, values = reproduce_table8(STUDY, options)
    assert (tables_folder / "table8.md").read_text() == text and "+5.27%" in text
    assert re.search(r"a search shows [0-9.]+ ads", text)
    stored = orjson.loads((tables_folder / "table8.json").read_bytes())
    assert [row["replaced"] for row in stored["changes"]] == list(STACKS)[1:]
    assert 0 < values["control"]["gCTR"] < 1


def test_where_no_ad_is_shown_nothing_is_compared() -> None:
    none = {SHOWN: np.zeros(4), CLICKED: np.zeros(4), RELEVANCE: np.zeros(4)}
    with pytest.raises(NotReady, match="shows no ads"):
        changes([dict.fromkeys(STACKS, none)], np.arange(4))


def test_a_workspace_of_ones_own_has_no_simulated_users(tmp_path, workspace) -> None:
    with pytest.raises(InputError, match="simulated users"):
        reproduce_table8(STUDY, Reproduce(tmp_path, workspace))
