"""Drawing a judging: the strata, and that nothing tells judges which system found what."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, InputError, NotReady
from omnisearch.evaluation.judging.draw import DrawOptions, draw
from omnisearch.evaluation.judging.folder import Judging
from omnisearch.evaluation.judging.queries import (
    STRATA,
    UNLOGGED,
    draw_queries,
    equal_shares,
    given_queries,
    strata_of,
    traffic_of,
)

DAY = 86_400
TRAFFIC = {f"query {n:03d}": 1000 // (n + 1) + 1 for n in range(400)}


def test_each_stratum_has_a_third_of_the_traffic() -> None:
    strata = strata_of(TRAFFIC)
    total = sum(TRAFFIC.values())
    for stratum in STRATA:
        share = sum(TRAFFIC[q] for q, s in strata.items() if s == stratum) / total
        assert share == pytest.approx(1 / 3, abs=0.08)  # a query is not cut in two
    assert list(strata.values()) == sorted(strata.values(), key=STRATA.index)


def test_a_query_belongs_where_its_first_search_falls() -> None:
    assert strata_of({"a": 1, "b": 1, "c": 1}) == dict(zip("abc", STRATA, strict=True))
    found = strata_of({"a": 90, "b": 10, "c": 10})
    assert found == {"a": "head", "b": "tail", "c": "tail"}


def test_as_many_queries_of_each_stratum_and_weights_that_add_up_to_the_traffic() -> None:
    drawn = draw_queries(TRAFFIC, 60, seed=1)
    sizes = Counter(strata_of(TRAFFIC).values())
    assert sizes["head"] < 20  # all the head there is, the others make up for it
    counts = Counter(entry.stratum for entry in drawn)
    assert counts["head"] == sizes["head"] and sum(counts.values()) == 60
    assert abs(counts["torso"] - counts["tail"]) <= 1
    assert len({entry.query for entry in drawn}) == 60
    for entry in drawn:
        stands_for = entry.traffic * sizes[entry.stratum] / counts[entry.stratum]
        assert entry.weight == pytest.approx(stands_for)


def test_weighting_gives_the_mean_over_traffic() -> None:
    """Over many seeds, the weighted mean of a value is that over all searches of the log."""
    value = {query: float(n % 7) for n, query in enumerate(TRAFFIC)}
    truth = sum(value[q] * t for q, t in TRAFFIC.items()) / sum(TRAFFIC.values())
    means = []
    for seed in range(200):
        drawn = draw_queries(TRAFFIC, 60, seed)
        weights = [entry.weight for entry in drawn]
        means.append(np.average([value[entry.query] for entry in drawn], weights=weights))
    assert np.mean(means) == pytest.approx(truth, abs=0.05)


def test_the_seed_decides_who_is_drawn() -> None:
    assert draw_queries(TRAFFIC, 30, 3) == draw_queries(TRAFFIC, 30, 3)
    assert draw_queries(TRAFFIC, 30, 3) != draw_queries(TRAFFIC, 30, 4)
    assert draw_queries({}, 30, 0) == []
    assert len(draw_queries({"only": 3}, 30, 0)) == 1


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5), st.integers(0, 100))
def test_shares_are_alike_as_far_as_the_groups_reach(sizes: list[int], number: int) -> None:
    shares = equal_shares(sizes, number)
    assert sum(shares) == min(number, sum(sizes))
    assert all(share <= size for share, size in zip(shares, sizes, strict=True))
    unfilled = [share for share, size in zip(shares, sizes, strict=True) if share < size]
    if unfilled:
        assert max(shares) - min(unfilled) <= 1


def test_queries_of_a_file_keep_the_logs_strata_and_weigh_alike() -> None:
    found = given_queries(["query 000", "never asked"], TRAFFIC)
    assert [entry.stratum for entry in found] == ["head", UNLOGGED]
    assert [entry.traffic for entry in found] == [1001, 0]
    assert {entry.weight for entry in found} == {1.0}


def log(db: Any, *events: tuple[str, int, int]) -> None:
    """Events of (query, day, count)."""
    for number, (query, day, count) in enumerate(events):
        row = {"event": number, "time": day * DAY, "query": query, "count": count}
        row |= {"entity": "pin", "item_id": "p1", "action": "click"}
        db["engagements"].insert(row)
    db.conn.commit()


def test_queries_come_from_the_evaluation_window_where_there_is_one(db: Any) -> None:
    log(db, ("old", 0, 9), ("both", 10, 5), ("both", 99, 1), ("new", 100, 2))
    assert traffic_of(db) == {"both": 6, "new": 2}
    db.conn.execute("DELETE FROM engagements WHERE time < ?", [90 * DAY])
    assert traffic_of(db) == {"new": 2, "both": 1}


@pytest.fixture
def live(engine: Any) -> Any:
    """The engine of 'copper sink', and a second query that only one system answers."""
    generation = SimpleNamespace(number=3, checkpoint="abc")
    engine.snapshot = SimpleNamespace(generation=generation, rankers=None)
    engine.rankings["full"]["basin"] = [("product", "s12"), ("pin", "p1")]
    log(engine.db, ("copper sink", 1, 5), ("basin", 1, 1))
    return engine


def drawn(live: Any, folder: Path, name: str = "spring", **options: Any) -> Judging:
    judging = Judging.new(Workspace(folder), name)
    draw(judging, live.db, lambda: live, DrawOptions(**options))
    return Judging.open(Workspace(folder), name)


def test_pairs_are_the_union_of_both_systems_each_once(live: Any, tmp_path: Path) -> None:
    judging = drawn(live, tmp_path)
    of_query = {
        query: {(p.entity, p.item_id) for p in judging.pairs.values() if p.query == query}
        for query in ("copper sink", "basin")
    }
    token, full = (live.rankings[s]["copper sink"][:8] for s in ("token", "full"))
    assert of_query["copper sink"] == {*token, *full}
    assert of_query["basin"] == {("product", "s12"), ("pin", "p1")}
    assert len(judging.pairs) == sum(map(len, of_query.values()))
    places = {(shown.query, shown.system): shown.pairs for shown in judging.shown}
    items = [judging.pairs[key].item_id for key in places["copper sink", "full"]]
    assert items == [key for _, key in full]
    assert places["basin", "token"] == []
    text = next(p.text for p in judging.pairs.values() if p.query == "copper sink")
    assert text == "Copper sink"  # as it was first seen
    assert judging.design.generation == 3 and "No rankers" in judging.design.notes[-1]


def test_what_judges_see_does_not_depend_on_the_systems(live: Any, tmp_path: Path) -> None:
    """Neither their order, nor whose a result is, nor its rank can be read from the pairs."""
    first = drawn(live, tmp_path)
    swapped = drawn(live, tmp_path, "swapped", systems=("full", "token"))
    for system in live.rankings.values():
        system["copper sink"] = system["copper sink"][:8][::-1]
    rearranged = drawn(live, tmp_path, "rearranged")
    content = (first.folder / "pairs.jsonl").read_bytes()
    assert (swapped.folder / "pairs.jsonl").read_bytes() == content
    assert (rearranged.folder / "pairs.jsonl").read_bytes() == content
    for line in content.splitlines():
        assert not {"system", "rank", "score"} & set(orjson.loads(line))
    assert b"token" not in content and b"full" not in content
    other = drawn(live, tmp_path, "other", seed=1)
    assert list(other.pairs) != list(first.pairs) and set(other.pairs) == set(first.pairs)


def test_order_tells_nothing_of_the_systems_ranks(live: Any, tmp_path: Path) -> None:
    """Over many seeds each result of a system stands in each place about as often."""
    places = []
    for seed in range(60):
        judging = drawn(live, tmp_path, f"s{seed}", seed=seed)
        order = [p.item_id for p in judging.pairs.values() if p.query == "copper sink"]
        places.append([order.index(key) for _, key in live.rankings["full"]["copper sink"][:8]])
    means = np.mean(places, axis=0)
    assert np.abs(means - (len(order) - 1) / 2).max() < 4 * len(order) / 12**0.5 / 60**0.5


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"systems": ("token",)}, "two different"),
        ({"systems": ("token", "token")}, "two different"),
        ({"systems": ("token", "magic")}, "magic"),
        ({"systems": ("token", "full", "rrf")}, "two different"),
        ({"file": Path("no-such-file")}, "cannot be read"),
    ],
)
def test_wrong_options_are_explained_and_leave_nothing(
    live: Any, tmp_path: Path, options: dict[str, Any], what: str
) -> None:
    with pytest.raises(InputError, match=what):
        drawn(live, tmp_path, **options)
    assert not Workspace(tmp_path).judging.exists()
    drawn(live, tmp_path)
    with pytest.raises(InputError, match=what):  # another name would not help
        drawn(live, tmp_path, **options)


@pytest.mark.parametrize("name", ["", "../out", "a/b", ".hidden", "x" * 65, "a\0b", "a b"])
def test_names_stay_inside_the_folder(live: Any, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name"):
        drawn(live, tmp_path, name)
    with pytest.raises(InputError, match="cannot be the name"):
        Judging.open(Workspace(tmp_path), name)


def test_a_name_is_taken_once(live: Any, tmp_path: Path) -> None:
    before = (drawn(live, tmp_path).folder / "pairs.jsonl").read_bytes()
    with pytest.raises(InputError, match="already"):
        drawn(live, tmp_path, seed=5)
    assert (tmp_path / "judging/spring/pairs.jsonl").read_bytes() == before


def test_an_engine_that_fails_leaves_no_judging(live: Any, tmp_path: Path) -> None:
    del live.rankings["full"]
    with pytest.raises(KeyError):
        drawn(live, tmp_path)
    assert not list(Workspace(tmp_path).judging.glob("**/*"))


def test_when_nothing_is_found_nothing_is_drawn(live: Any, tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("zyzzyva\nqwerty\n")
    with pytest.raises(
        InputError, match="nothing to judge: neither token nor full finds anything for the 2 quer"
    ):
        drawn(live, tmp_path, file=tmp_path / "queries.txt")
    assert not Workspace(tmp_path).judging.exists()


def test_a_log_without_queries_is_not_ready(live: Any, tmp_path: Path) -> None:
    live.db.conn.execute("DELETE FROM engagements")
    with pytest.raises(NotReady, match="no queries"):
        drawn(live, tmp_path)


def test_missing_and_damaged_judgings_are_named(live: Any, tmp_path: Path) -> None:
    drawn(live, tmp_path)
    with pytest.raises(NotReady, match="spring"):
        Judging.open(Workspace(tmp_path), "autumn")
    for name in ("design.json", "queries.jsonl", "pairs.jsonl", "shown.jsonl"):
        path = tmp_path / "judging/spring" / name
        path.write_bytes(path.read_bytes()[:-20])
    judging = Judging.open(Workspace(tmp_path), "spring")
    for read in ("design", "queries", "pairs", "shown"):
        with pytest.raises(Corrupt, match="cannot be read"):
            getattr(judging, read)
