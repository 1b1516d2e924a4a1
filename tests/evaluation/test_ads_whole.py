"""Ads from a file to a report, on a sample world, as a user does it."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner

from omnisearch import pipeline
from omnisearch.cli.main import app
from omnisearch.data.catalogue.campaigns import load_campaigns
from omnisearch.data.catalogue.feedback import add_events, open_feedback
from omnisearch.data.catalogue.searches import open_searches
from omnisearch.data.catalogue.shown_ads import ShownAd, add_shown_ads, shown_ads
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.engine.ads.models import load_models
from omnisearch.engine.search import SearchEngine
from omnisearch.evaluation.ads.report import report_ads
from omnisearch.world.truth import Truth

NOW = int(time.time())


@pytest.fixture
def shop(trained: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(trained.root, tmp_path / "shop")
    return Workspace(tmp_path / "shop")


def ran(*words: object) -> str:
    """What it printed, without what it told of its progress."""
    found = CliRunner().invoke(app, [str(word) for word in words])
    assert found.exit_code == 0, found.output
    return found.stdout


def told(*words: object) -> Any:
    return json.loads(ran(*words, "--json"))["data"]


def test_from_a_file_to_a_report(shop: Workspace, tmp_path: Path) -> None:
    engine = SearchEngine.open(shop)
    query = "dress"
    plain = [hit for hit in engine.search(query, k=30).hits if not hit.is_ad]
    organic = [(hit.entity, hit.id) for hit in plain]
    entity, key = next((hit.entity, hit.id) for hit in plain if hit.highlights)
    file = tmp_path / "campaigns.jsonl"
    row = {"id": "mine", "bid": 1000.0, "items": [{"entity": entity, "id": key}, "pin/no-such"]}
    file.write_text(json.dumps(row))
    assert "pin/no-such" in ran("import", file, "--workspace", shop.root)
    assert engine.reload()
    first = engine.search(query, k=30).hits[0]
    assert (first.id, first.is_ad, first.campaign) == (key, True, "mine")
    assert "Ad " in ran("search", query, "--workspace", shop.root)
    listed = {each["id"]: each for each in told("ads", "list", "-w", shop.root)["campaigns"]}
    assert listed["mine"]["unknown"] == [["pin", "no-such"]] and listed["mine"]["state"] == "runs"
    assert {"ended", "runs"} <= {each["state"] for each in listed.values()}

    found = told("ads", "simulate", "--searches", 60, "-w", shop.root)
    assert found["searches"] == 60 and found["ads"] > 0
    report = told("ads", "report", "-w", shop.root)["campaigns"]
    assert report[-1]["campaign"] == "all" and report[-1]["shown"] == found["ads"]
    with closing(open_searches(shop.searches)) as log:
        rows = list(shown_ads(log))
    assert report[-1]["shown"] == len(rows)
    assert all(each["shown"] >= each["clicked"] >= each["long_clicked"] for each in report)
    assert not any(each.refused for each in pipeline.import_files(shop, ["feedback"]))

    # The campaign ends: its ads are gone, and the index is as it was.
    file.write_text(json.dumps({**row, "end": NOW - 5, "start": NOW - 50}))
    ran("import", file, "--workspace", shop.root)
    assert engine.reload()
    after = [(hit.entity, hit.id) for hit in engine.search(query, k=30).hits if not hit.is_ad]
    assert after == organic


def test_models_are_learned_and_lower_what_is_not_relevant(shop: Workspace) -> None:
    report = told("ads", "train", "-w", shop.root)
    models = load_models(shop)
    assert models is not None and models.relevance is not None
    deciles = report["relevance"]["reliability"]["deciles"]
    assert sum(each["trials"] for each in deciles) < report["relevance"]["pairs"]
    assert deciles[-1]["observed"] > deciles[0]["observed"]
    assert "These models are live" in ran("ads", "train", "-w", shop.root)

    content = shop.ad_models.read_bytes()
    shop.ad_models.write_bytes(content[:-20])
    with pytest.raises(Corrupt, match="ads"):
        load_models(shop)


def test_a_report_counts_what_follows_the_search_that_showed_the_ad(tmp_path: Path) -> None:
    space = Workspace.create(tmp_path)
    shown = [
        ShownAd("s1", 1, 1000_000, "a", "pin", "p1", "lamp"),
        ShownAd("s1", 4, 1000_000, "b", "pin", "p2", "lamp"),
        ShownAd("s2", 1, 2000_000, "a", "pin", "p1", "rug"),
        ShownAd("s3", 1, 3000_000, "a", "product", "p1", "rug"),
    ]
    acted = [
        *(("s1", "pin", "p1", "click"), ("s1", "pin", "p1", "long_click")),
        *(("s1", "pin", "p9", "long_click"), ("s2", "pin", "p1", "save")),
        *(("s3", "pin", "p1", "long_click"), ("s9", "pin", "p1", "long_click")),
        ("s1", "pin", "p2", "click"),
    ]
    events = [
        (f"e{n}", orjson.dumps(dict(zip(("request_id", "entity", "item_id", "action"), row))))  # noqa: B905
        for n, row in enumerate(acted)
    ]
    with pytest.raises(InputError, match="No ads are logged yet"):
        report_ads(space)
    with closing(open_searches(space.searches, create=True)) as log:
        assert add_shown_ads(log, shown) == 4 and add_shown_ads(log, shown) == 0
    with closing(open_feedback(space.feedback, create=True)) as log:
        add_events(log, events, 0)
    a, b = report_ads(space)
    assert (a.campaign, a.searches, a.shown, a.clicked, a.long_clicked) == ("a", 3, 3, 1, 1)
    assert (b.campaign, b.shown, b.clicked, b.long_clicked) == ("b", 1, 1, 0)
    low, high = a.interval()
    assert a.gctr == 1 / 3 and np.allclose((low, high), (0.0615, 0.7923), atol=1e-3)
    assert [each.campaign for each in report_ads(space, since=2000)] == ["a"]
    assert report_ads(space, since=2000, until=3000)[0].shown == 1


def test_no_search_can_read_the_truth_from_campaigns(shop: Workspace) -> None:
    """Bids know nothing of quality, and the file holds ids alone."""
    truth = Truth.read(shop.truth)
    bids, quality = [], []
    for campaign in load_campaigns(shop).values():
        for _, key in campaign.items:
            bids.append(campaign.bid)
            quality.append(truth.items.quality[truth.item_of[key]])
    assert abs(np.corrcoef(bids, quality)[0, 1]) < 0.3
    fields = {"id", "bid", "items", "start", "end", "countries", "languages"}
    for line in shop.campaigns.read_bytes().splitlines()[1:]:
        assert set(orjson.loads(line)) == fields
