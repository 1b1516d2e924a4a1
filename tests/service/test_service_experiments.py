"""Experiments in a service: each user one variant, and never a mixed answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from server_process import Server
from test_service_workers import wait_for

from omnisearch.data.catalogue.searches import Logged, reading_searches
from omnisearch.data.workspace import Workspace
from omnisearch.engine.response import Response
from omnisearch.evaluation.experiments import store
from omnisearch.evaluation.experiments.assignment import user_hash, variant_of
from omnisearch.evaluation.experiments.definition import Experiment, experiment_of
from omnisearch.evaluation.experiments.measures import FULFILLED, measure
from omnisearch.evaluation.experiments.report import report
from omnisearch.evaluation.experiments.scratch import opened
from omnisearch.pipeline import import_files
from omnisearch.service import searching

WORDS = {"name": "words", "variants": {"control": {}, "words": {"system": "token"}}}
QUERY = "boho bedroom"
USERS = [f"user-{number}" for number in range(30)]


def asked(server: Server, user: str, query: str = QUERY, more: str = "") -> dict[str, Any]:
    found: dict[str, Any] = server.json(f"/v1/search?q={quote(query)}&user={user}{more}")
    return found


def ids(answer: dict[str, Any]) -> list[str]:
    return [hit["id"] for hit in answer["hits"]]


def started(workspace: Workspace, values: dict[str, Any] = WORDS) -> Experiment:
    experiment = experiment_of(values, "test")
    store.create(workspace, experiment)
    store.start(workspace, experiment.name)
    return experiment


def logged(workspace: Workspace, count: int) -> list[Logged]:
    """The rows of the log, once there are so many."""

    def rows() -> list[Logged]:
        if not workspace.searches.exists():
            return []
        with reading_searches(workspace.searches) as db:
            return list(map(Logged._make, db.execute("SELECT * FROM searches ORDER BY time")))

    wait_for(lambda: len(rows()) >= count, 10.0)
    return rows()


def test_each_user_gets_one_variant_and_the_log_says_which(served: Workspace) -> None:
    experiment = started(served)
    key = store.key_of(served)
    assert key is not None
    with Server(served.root, "--workers", 2) as server:
        plain = {
            name: server.json(f"/v1/search?q={quote(QUERY)}&system={name}")
            for name in ("full", "token")
        }
        assert ids(plain["full"]) != ids(plain["token"])
        assert plain["full"]["experiment"] is None
        seen = set()
        for user in USERS:
            wanted = variant_of(experiment, 100, user_hash(user, key))
            assert wanted is not None
            for more in ("", "&k=20", "&deadline_ms=20000"):  # the short way and the long one
                answer = asked(server, user, more=more)
                assert answer["experiment"] == {"name": "words", "variant": wanted.name}
                assert answer["system"] == wanted.system
                assert ids(answer) == ids(plain[wanted.system])
            seen.add(wanted.name)
        assert seen == {"control", "words"}
        assert server.json("/v1/status")["experiment"] == {"name": "words", "traffic": 100.0}
        assert asked(server, USERS[0], more="&system=token")["experiment"] is None
        rows = logged(served, 3 * len(USERS))
    assert len(rows) == 3 * len(USERS)
    assert {row.user for row in rows} == {user_hash(user, key) for user in USERS}
    assert {row.query for row in rows} == {QUERY}
    for row in rows:
        hits = plain["token" if row.variant == "words" else "full"]["hits"]
        assert json.loads(row.shown) == [[hit["entity"], hit["id"]] for hit in hits[:8]]


def test_what_was_shown_is_logged_where_the_query_alone_was_asked(served: Workspace) -> None:
    started(served)
    plain = ("", "&entity=product")  # which a shop may always ask for
    others = ("&page=2", "&language=en", "&k=5", "&sort=newest")
    with Server(served.root) as server:
        for number, more in enumerate((*plain, *others)):
            asked(server, f"user-{number}", more=more)
        rows = logged(served, len(plain) + len(others))
    assert sorted(bool(row.shown) for row in rows) == [False] * len(others) + [True] * len(plain)
    assert {row.total > 0 for row in rows} == {True}, rows[:6]
    assert b"user-1" not in served.searches.read_bytes()


def test_the_log_keeps_a_country_and_a_device_that_the_caller_names(served: Workspace) -> None:
    started(served)
    with Server(served.root) as server:
        told = ("&user_country=de&device=phone", "&user_country=49.87,8.65", "")
        names = [asked(server, "anna", more=more)["request_id"] for more in told]
        for device in ("iPhone+14", "Phone", "x", "a" * 13, ""):
            status, _, body = server.get(f"/v1/search?q=dress&user=anna&device={device}")
            assert status == 422 and b"device" in body
        rows = {row.request_id: row for row in logged(served, len(told))}
    kept = [(rows[name].country, rows[name].device) for name in names]
    assert kept == [("DE", "phone"), ("", ""), ("", "")]
    assert len(rows) == len(told)
    assert b"49.87" not in served.searches.read_bytes()


def test_it_starts_and_stops_in_all_workers_within_a_second(served: Workspace) -> None:
    with Server(served.root, "--workers", 2) as server:
        live = ids(server.json(f"/v1/search?q={quote(QUERY)}"))
        assert asked(server, "anna")["experiment"] is None

        def said() -> set[Any]:
            answers = [asked(server, user) for user in USERS[:8] for _ in range(2)]
            return {each["experiment"] and each["experiment"]["variant"] for each in answers}

        started(served)
        wait_for(lambda: said() == {"control", "words"}, 10.0)
        store.stop(served, "words")
        time.sleep(1.0)
        assert said() == {None}
        assert all(ids(asked(server, user)) == live for user in USERS[:8])


def broken_key(workspace: Workspace) -> None:
    (workspace.experiments / "KEY").write_bytes(b"short")


def broken_file(workspace: Workspace) -> None:
    (workspace.experiments / "words.json").write_bytes(b"{")


def lost(workspace: Workspace) -> None:
    (workspace.experiments / "words.json").unlink()


@pytest.mark.parametrize("damage", [broken_key, broken_file, lost])
def test_what_cannot_be_opened_does_not_run(
    served: Workspace, damage: Callable[[Workspace], None]
) -> None:
    started(served)
    damage(served)
    with Server(served.root) as server:
        answers = [asked(server, user) for user in USERS[:6]]
        assert {each["experiment"] for each in answers} == {None}
        assert len({tuple(ids(each)) for each in answers}) == 1
        assert server.events("experiment_refused")


def test_what_users_did_comes_back_to_their_variants(served: Workspace) -> None:
    experiment = experiment_of(WORDS, "test")
    store.create(served, experiment)
    with Server(served.root) as server:
        before = asked(server, "anna")  # recorded, and answered by what is live
        assert before["experiment"] is None
        logged(served, 1)
        time.sleep(1.1)  # the start is told in seconds
        store.start(served, "words")
        wait_for(lambda: asked(server, "anna", "shelf")["experiment"] is not None, 10.0)
        events = []
        for number, user in enumerate(USERS):
            answer = asked(server, user)
            hit = answer["hits"][0]
            if number % 3:
                continue
            event = {"event_id": user, "query": QUERY, "entity": hit["entity"], "id": hit["id"]}
            events.append({**event, "action": "save", "request_id": answer["request_id"]})
        lost = {**events[0], "event_id": "lost", "request_id": "nobody-1"}
        status, _, body = server.post("/v1/feedback", {"events": [*events, lost]})
        assert (status, json.loads(body)["accepted"]) == (200, len(events) + 1)
        logged(served, 2 + len(USERS))
    with opened(served) as scratch:
        found = measure(served, store.load(served, "words"), scratch)
    saves, searches = found.sums(FULFILLED)
    assert saves.sum() == len(events) == 10
    assert report(served, store.load(served, "words")).unknown == 1 and found.mixed == 0
    assert len(found.variant) == len(USERS) + 1  # and anna
    assert found.before.sum(axis=0).tolist() == [0.0, 1.0]
    assert searches.sum() >= len(USERS) + 1
    reports = import_files(served, ["feedback"])
    assert [each.changed for each in reports] == [11, 0]
    assert not any(each.refused for each in reports)


def test_an_interleaved_answer_names_what_either_variant_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = Response("q", "q", [], [], 1, 1.0, 0, 0)
    left_out = {"a": ["token_pins"], "b": ["query_embedding", "token_pins"]}

    async def search(_: Any, __: Any, arm: Any) -> Response:
        return replace(found, degraded=left_out[arm])

    monkeypatch.setattr(searching, "search", search)
    wanted, arms = searching.Search("q", 1.0), ["a", "b"]
    answer, _ = asyncio.run(searching._interleaved(None, wanted, arms, b"user"))  # type: ignore
    assert answer.degraded == ["token_pins", "query_embedding"]


def test_results_of_two_variants_in_turns(served: Workspace) -> None:
    experiment = started(served, {**WORDS, "mode": "interleave"})
    with Server(served.root) as server:
        plain = {
            name: server.json(f"/v1/search?q={quote(QUERY)}&k=200&system={name}")
            for name in ("full", "token")
        }
        whole = asked(server, "anna", more="&k=200")
        assert whole["experiment"] == {"name": "words", "variant": "interleave"}
        both = set(ids(plain["full"])) | set(ids(plain["token"]))
        assert set(ids(whole)) <= both and len(set(ids(whole))) == min(200, len(both))
        assert [hit["rank"] for hit in whole["hits"]] == list(range(1, len(whole["hits"]) + 1))
        pages = [ids(asked(server, "anna", more=f"&k=5&page={page}")) for page in (1, 2, 3)]
        assert [key for page in pages for key in page] == ids(whole)[:15]
        others = {tuple(ids(asked(server, user))) for user in USERS[:8]}
        assert len(others) > 1
        answer = asked(server, "berta")
        [row] = [row for row in logged(served, 13) if row.request_id == answer["request_id"]]
        drafted = json.loads(row.drafted)
        assert [key for _, key, _ in drafted] == ids(answer)
        mine = {key for _, key, of_b in drafted if of_b == 1}
        assert mine <= set(ids(plain["token"]))
        chosen = next(hit for hit in answer["hits"] if hit["id"] in mine)
        event = {
            "event_id": "e1",
            "query": QUERY,
            "entity": chosen["entity"],
            "id": chosen["id"],
            "action": "save",
            "request_id": answer["request_id"],
        }
        assert server.post("/v1/feedback", {"events": [event]})[0] == 200
    found = report(served, store.load(served, experiment.name))
    assert found.preference is not None
    assert (found.preference.searches, found.preference.wins) == (1, 1)
