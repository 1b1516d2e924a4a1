"""Experiments on the sample world's users, through the engine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from omnisearch.cli.main import app
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.evaluation.experiments import store
from omnisearch.evaluation.experiments.definition import experiment_of
from omnisearch.evaluation.experiments.report import Report, report
from omnisearch.evaluation.experiments.simulate import Users, simulate
from omnisearch.pipeline import import_files

# The encoder of these tests is barely trained: words find far more.
TWO: dict[str, Any] = {"control": {}, "meaning": {"system": "embedding"}}


@pytest.fixture
def shop(trained: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(trained.root, tmp_path / "shop")
    return Workspace(tmp_path / "shop")


def tried(shop: Workspace, name: str, users: int = 900, **values: Any) -> Report:
    store.create(shop, experiment_of({"name": name, "variants": TWO, **values}, "test"))
    simulate(shop, name, users, days=14, before=7, seed=1)
    return report(shop, store.load(shop, name))


def test_users_do_less_with_worse_results(shop: Workspace) -> None:
    found = tried(shop, "worse")
    assert found.state == "stopped" and found.days == 14
    assert found.split_as_planned and found.unknown == found.mixed == 0
    [comparison] = found.comparisons
    assert comparison.deciding.relative.high < 0
    assert 0 <= comparison.removed <= 1
    reports = import_files(shop, ["feedback"])
    assert not any(each.refused for each in reports)


def test_without_a_difference_none_is_found(shop: Workspace) -> None:
    found = tried(shop, "same", variants={"control": {}, "same": {"engine": {"related": 9}}})
    [comparison] = found.comparisons
    assert comparison.deciding.relative.low < 0 < comparison.deciding.relative.high
    again = tried(shop, "same-again", variants={"control": {}, "same": {}})
    assert sum(again.searches.values()) == sum(found.searches.values())  # the same users


def test_users_differ_and_stay_as_they_are() -> None:
    some, more = Users.of(2000, 1), Users.of(3000, 1)
    assert (some.activity == more.activity[:2000]).all()
    assert (some.appetite == more.appetite[:2000]).all()
    assert 3.6 < some.activity.mean() < 4.4 and 0.6 < some.appetite.mean() < 0.7
    assert abs(np.corrcoef(some.activity, some.appetite)[0, 1]) < 0.1
    assert (Users.of(2000, 2).appetite != some.appetite).all()


@pytest.mark.slow
def test_what_users_did_before_takes_variance_away(shop: Workspace) -> None:
    store.create(shop, experiment_of({"name": "two", "variants": TWO}, "test"))
    simulate(shop, "two", 1500, days=28, before=56, seed=2)
    [comparison] = report(shop, store.load(shop, "two")).comparisons
    assert comparison.removed > 0.02


def test_two_lists_in_turns(shop: Workspace) -> None:
    found = tried(shop, "in-turns", users=300, mode="interleave")
    assert found.preference is not None and found.preference.share.high < 0.5
    assert found.preference.losses > found.preference.wins


def test_what_cannot_be_simulated(shop: Workspace) -> None:
    store.create(shop, experiment_of({"name": "two", "variants": TWO}, "test"))
    store.start(shop, "two")
    with pytest.raises(InputError, match="was started before"):
        simulate(shop, "two", 10, 1, 0, 0)
    shop.truth.unlink()
    with pytest.raises(InputError, match="sample world"):
        simulate(shop, "two", 10, 1, 0, 0)


def test_the_command(shop: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "two.toml"
    file.write_text('name = "two"\n[variants.control]\n[variants.words]\nsystem = "token"\n')
    at = ["--workspace", str(shop.root)]

    def run(*words: str) -> str:
        result = CliRunner().invoke(app, ["experiment", *words, *at])
        assert result.exit_code == 0, (result.output, result.exception)
        return result.output

    run("create", str(file))
    assert "400 users made" in run("simulate", "two", "--users", "400", "--days", "7")
    shown = run("report", "two")
    assert "words beside the control" in shown and "<0.001" in shown and "nan" not in shown
    assert "however often one looks" in shown.replace("\n", " ")
    told = json.loads(run("report", "two", "--json"))["data"]
    assert told["comparisons"][0]["variant"] == "words"
