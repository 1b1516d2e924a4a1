"""docs/reference/settings.md names every setting with its default and its range."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from omnisearch.data.workspace.errors import InputError
from omnisearch.encoders.config import Config, preset_config
from omnisearch.engine.config import CacheConfig, EngineConfig, default_depths
from omnisearch.engine.ranking_data import RankingOptions
from omnisearch.enrichment.fetching import EnrichConfig
from omnisearch.enrichment.graph.config import GraphConfig
from omnisearch.indexer.build import BuildOptions
from omnisearch.indexer.cluster.config import ClusterConfig
from omnisearch.service.config import ServiceConfig

PAGE = (Path(__file__).parents[2] / "docs/reference/settings.md").read_text("utf-8")
SECTIONS: dict[str, Any] = {
    "engine": EngineConfig(),
    "cache": CacheConfig(),
    "rank": RankingOptions(),
    "index": BuildOptions(),
    "cluster": ClusterConfig(),
    "enrich": EnrichConfig(),
    "graph": GraphConfig(),
    "service": ServiceConfig(),
}


def table(section: str) -> dict[str, list[str]]:
    """The rows of a section's table: the setting and the other cells."""
    text = PAGE.split(f"\n## [{section}]\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|$", text, re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in rows}


def shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.16g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize("section", SECTIONS)
def test_settings_have_the_documented_defaults(section: str) -> None:
    defaults = SECTIONS[section]
    known = {each.name: getattr(defaults, each.name) for each in fields(defaults)}
    known.pop("depths", None)  # a table of its own
    assert {name: cells[0] for name, cells in table(section).items()} == {
        name: shown(value) for name, value in known.items()
    }


@pytest.mark.parametrize("section", ["engine", "index", "cluster", "service"])
def test_values_beside_the_documented_range_are_refused(section: str) -> None:
    for name, (_, bounds, _) in table(section).items():
        if bounds:
            least, most = (float(bound) for bound in bounds.split(" to "))
            for value in (least - 1, most + 1):
                with pytest.raises(InputError, match=f"{name} must be a number from") as refused:
                    replace(SECTIONS[section], **{name: value})
                told = re.findall(r"from (\S+) to (\S+), got", str(refused.value))
                assert [tuple(map(float, told[0]))] == [(least, most)]


def test_depths_are_those_of_the_sources() -> None:
    assert {name: int(cells[0]) for name, cells in table("engine.depths").items()} == (
        default_depths()
    )


def test_the_settings_of_training_are_those_of_the_presets() -> None:
    def shortened(value: object) -> str:
        return f"{value:.4g}" if isinstance(value, float) else shown(value) or '""'

    presets = [preset_config(name) for name in ("tiny", "demo", "paper")]
    assert table("train") == {
        field.name: [shortened(getattr(preset, field.name)) for preset in presets]
        for field in fields(Config)
        if field.name != "preset"
    }
