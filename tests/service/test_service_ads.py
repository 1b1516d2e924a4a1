"""A service follows campaigns, says what is an ad, logs what it showed, and serves without them."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from server_process import Server

from omnisearch.data.catalogue.campaigns import Campaign, load_campaigns, save_campaigns
from omnisearch.data.catalogue.searches import open_searches
from omnisearch.data.catalogue.shown_ads import shown_ads
from omnisearch.data.workspace import Workspace
from omnisearch.evaluation.ads.report import report_ads


def wait_for(holds: Any) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture
def without(served: Workspace) -> Workspace:
    """No campaigns at first."""
    served.campaigns.unlink(missing_ok=True)
    return served


def test_campaigns_are_followed_logged_and_end_by_themselves(without: Workspace) -> None:
    with Server(without.root) as server:

        def hits(more: str = "") -> list[dict]:
            return server.json(f"/v1/search?q=dress&k=20{more}")["hits"]

        assert server.json("/v1/status")["ads"] is None
        before = [(hit["entity"], hit["id"]) for hit in hits()]
        dresses = [hit for hit in hits() if hit["highlights"] and not hit["is_ad"]]
        item = (dresses[0]["entity"], dresses[0]["id"])
        end = int(time.time()) + 6
        here = Campaign("here", 1.0, (item,), end=end)
        there = Campaign("there", 5.0, (item,), countries=("FR",))
        save_campaigns(without, {"here": here, "there": there})
        wait_for(lambda: hits()[0]["campaign"] == "here")
        answer = server.json("/v1/search?q=dress&k=20")
        first = answer["hits"][0]
        assert first["is_ad"] and (first["entity"], first["id"]) == item
        assert hits("&user_country=fr")[0]["campaign"] == "there"
        assert hits("&ads=false")[0]["campaign"] is None
        status = server.json("/v1/status")["ads"]
        assert status["campaigns"] == 2 and status["running"] >= 1 and status["missing"] == 0
        event = {"event_id": "1", "query": "dress", "entity": item[0], "id": item[1]}
        event |= {"action": "long_click", "request_id": answer["request_id"]}
        assert server.post("/v1/feedback", {"events": [event]})[0] == 200

        wait_for(lambda: hits()[0]["campaign"] is None)  # at its second, without a new file
        assert time.time() >= end
        assert [(hit["entity"], hit["id"]) for hit in hits()] == before

        def logged() -> list[Any]:
            with closing(open_searches(without.searches)) as log:
                return [ad for ad in shown_ads(log) if ad.request_id == answer["request_id"]]

        wait_for(lambda: without.searches.exists() and logged())
        ads = {ad.campaign: ad for ad in logged()}
        assert (ads["here"].place, ads["here"].item_id, ads["here"].query) == (1, item[1], "dress")
    found = {each.campaign: each for each in report_ads(without)}
    assert (
        found["here"].long_clicked == 1 and found["here"].shown >= 1 and found["there"].shown == 1
    )


def test_a_damaged_file_is_told_and_costs_no_answer(without: Workspace, tmp_path: Path) -> None:
    with Server(without.root) as server:
        hit = server.json("/v1/search?q=dress&k=20")["hits"][-1]
    save_campaigns(without, {"a": Campaign("a", 1.0, ((hit["entity"], hit["id"]),))})
    assert load_campaigns(without)
    without.campaigns.write_bytes(without.campaigns.read_bytes()[:-9])
    with Server(without.root) as server:
        assert server.json("/v1/search?q=dress&k=20")["hits"]
        assert "without ads" in server.json("/v1/status")["behind"]
