"""`--format`: data sets and feeds of ours, and of packages that bring their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from importing import import_named, jsonl, table

from omnisearch.data.importers.datasets import DATASETS
from omnisearch.data.importers.feeds import FEEDS
from omnisearch.data.importers.formats import format_named, formats
from omnisearch.data.importers.importer import Importer
from omnisearch.data.importers.translate import take
from omnisearch.data.workspace.errors import InputError

SOURCES = Path(__file__).parents[3] / "src"
MAIN = "from omnisearch.cli.main import main; main()"
PLUGIN = """
from omnisearch.data.importers.importer import Importer
from omnisearch.data.importers.translate import file_of, take

def museum(workspace, folder, progress):
    works = file_of(folder, "works.jsonl")
    made = lambda values: [{"id": f"museum:{values['nr']}", "title": values["name"]}]
    return [take(workspace, works, "pins", made, progress)]

MUSEUM = Importer("museum", "a museum's works", "house:museum")
LOST = Importer("lost", "its code is gone", "house.lost:read")
"""
POINTS = """[omnisearch.datasets]
museum = house:MUSEUM
[omnisearch.feeds]
lost = house:LOST
"""


def omnisearch(site: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """The command, with a folder of packages besides those that are installed."""
    path = os.pathsep.join((str(SOURCES), str(site)))
    return subprocess.run(
        [sys.executable, "-c", MAIN, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "100"},
    )


def installed(site: Path, module: str, points: str) -> Path:
    """A folder of packages that holds the distribution `house`."""
    info = site / "house-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: house\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)
    (site / "house.py").write_text(module)
    return site


@pytest.fixture
def site(tmp_path):
    return installed(tmp_path / "site", PLUGIN, POINTS)


def test_a_package_brings_a_data_set(site, tmp_path):
    folder = tmp_path / "museum"
    folder.mkdir()
    jsonl(folder / "works.jsonl", {"nr": 7, "name": "Sea"}, {"name": "no number"})
    done = omnisearch(site, "import", folder, "--format", "museum", "-w", tmp_path / "w", "--json")
    [report] = json.loads(done.stdout)["data"]
    assert (report["kind"], report["taken"]) == ("pins", 1)
    assert report["reasons"] == {"nr is missing": 1}


def test_the_help_and_the_error_list_them(site, tmp_path):
    shown = omnisearch(site, "import", "--help").stdout
    for name, entry in formats().items():
        assert f"{name}: {entry.about}" in shown
    assert "museum: a museum's works" in shown and "lost: its code is gone" in shown
    done = omnisearch(site, "import", tmp_path, "--format", "acme", "-w", tmp_path / "w")
    assert done.returncode == 2
    assert all(name in done.stderr for name in (*formats(), "museum", "lost", "csv, tsv"))


def one_error(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2
    assert done.stderr.count("Error:") == 1 and "Traceback" not in done.stderr + done.stdout
    return " ".join(done.stderr.split())


def test_a_plug_in_that_cannot_be_loaded_is_one_readable_error(site, tmp_path):
    done = omnisearch(site, "import", tmp_path, "--format", "lost", "-w", tmp_path / "w")
    assert "format 'lost': 'house.lost:read' cannot be loaded" in one_error(done)
    broken = installed(tmp_path / "broken", "1 / 0", POINTS)
    for words in (("--help",), (tmp_path, "--format", "esci", "-w", tmp_path / "w")):
        message = one_error(omnisearch(broken, "import", *words))
        assert "The plug-in 'house:MUSEUM' cannot be loaded (division by zero)" in message
        assert "Update or uninstall the package that provides it." in message
    path = jsonl(tmp_path / "pins.jsonl", {"id": "p1"})
    # What asks for no format is not held up by it.
    assert omnisearch(broken, "import", path, "-w", tmp_path / "w").returncode == 0


def import_list(workspace, path, progress):
    return [take(workspace, path, "pins", lambda row: [{"id": row["n"], "title": "x"}], progress)]


@pytest.mark.parametrize("registry", [DATASETS, FEEDS])
def test_an_entry_can_be_registered(workspace, tmp_path, registry):
    registry.register(Importer("list", "a list", f"{__name__}:import_list"))
    try:
        path = jsonl(tmp_path / "rows.jsonl", {"n": "p1"})
        [report] = import_named(workspace, path, "list")
    finally:
        registry.remove("list")
    assert (report.taken, table(workspace, "pins", "id, title, link")) == (1, [("p1", "x", None)])
    with pytest.raises(InputError, match="Unknown format 'list'"):
        format_named("list")


def test_a_feed_cannot_have_the_name_of_a_data_set():
    FEEDS.register(Importer("esci", "another one", f"{__name__}:import_list"))
    try:
        with pytest.raises(InputError, match="A data set and a feed are both called 'esci'"):
            formats()
    finally:
        FEEDS.remove("esci")


def test_listing_the_formats_imports_none_of_them():
    code = (
        "import sys; from omnisearch.data.importers.formats import formats; formats(); "
        "print([name for name in sys.modules if 'pyarrow' in name or name.endswith('.esci')])"
    )
    environment = os.environ | {"PYTHONPATH": str(SOURCES)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "[]"
