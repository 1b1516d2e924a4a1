"""The package on docs/reference/plugins.md works: by its entry points, and by `register`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from omnisearch.data.workspace import Workspace

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/plugins.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
FILES = {block.split("\n")[0].removeprefix("# "): block for block in BLOCKS if block[0] == "#"}
NAMED = {
    "engine.sources.SOURCES": "newest_products",
    "engine.systems.SYSTEMS": "novelties",
    "ranker.features.FEATURES": "novelty",
    "data.catalogue.spaces.SPACES": "looks",
    "enrichment.ENRICHERS": "brands",
    "data.importers.datasets.DATASETS": "museum",
    "data.importers.feeds.FEEDS": "stock",
}
CHECK = "\n".join(
    f"from omnisearch.{path.rpartition('.')[0]} import {path.rpartition('.')[2]} as registry\n"
    f"assert {name!r} in registry, {name!r}"
    for path, name in NAMED.items()
)
SEARCH = """
import sys
from omnisearch import SearchEngine

engine = SearchEngine.open(sys.argv[1])
hits = engine.search("boho bedroom", k=5, system="novelties", explain=True).hits
assert [hit.explain["sources"]["newest_products"]["rank"] for hit in hits] == [1, 2, 3, 4, 5]
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of packages with the files of `shop`."""
    for name, text in FILES.items():
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return tmp_path / "site"


@pytest.fixture
def installed(site: Path) -> Path:
    """The same with the entry points of the page."""
    points = "".join(
        f"[{group}]\n" + entries.replace('"', "")
        for group, entries in re.findall(
            r'```toml\n\[project.entry-points."([\w.]+)"\]\n(.*?)```', PAGE, re.DOTALL
        )
    )
    info = site / "shop-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)
    return site


def run(site: Path, program: str, *words: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(site)))},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def command(site: Path, *words: object) -> dict:
    main = "from omnisearch.cli.main import main; main()"
    return json.loads(run(site, main, *words, "--json"))["data"]


def test_register_adds_an_entry_of_each_kind(site: Path) -> None:
    calls = [block for block in BLOCKS if block[0] != "#"]
    assert len(calls) == len(NAMED) and sum(len(re.findall("register", b)) for b in calls) == 8
    run(site, "\n".join(calls) + CHECK)


def test_entry_points_add_an_entry_of_each_kind(installed: Path) -> None:
    run(installed, CHECK)


def test_the_formats_are_imported_and_the_enricher_runs(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "museum").mkdir()
    (tmp_path / "museum/works.jsonl").write_text('{"nr": 7, "name": "Sea"}\n{"name": "Sky"}\n')
    (tmp_path / "stock.csv").write_text("sku,name\ns1,Sink\n")
    (tmp_path / "products.csv").write_text("id,brand\np1,Acme\n")
    to = ("-w", tmp_path / "workspace")
    [works] = command(installed, "import", tmp_path / "museum", "--format", "museum", *to)
    assert (works["taken"], works["reasons"]) == (1, {"nr is missing": 1})
    [stock] = command(installed, "import", tmp_path / "stock.csv", "--format", "stock", *to)
    assert (stock["kind"], stock["taken"], stock["refused"]) == ("products", 1, 0)
    command(installed, "import", tmp_path / "products.csv", *to)
    assert command(installed, "enrich", "brands", *to)["titles"] == 1


def test_the_source_is_searched(installed: Path, trained: Workspace, tmp_path: Path) -> None:
    shutil.copytree(trained.root, tmp_path / "workspace")
    run(installed, SEARCH, tmp_path / "workspace")
