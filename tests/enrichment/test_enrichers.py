"""The registry of enrichers: ours can be run, and so can one that another package brings."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import subprocess
import sys
from pkgutil import resolve_name

import pytest

from omnisearch.cli.main import app
from omnisearch.enrichment import ENRICHERS

MAIN = "from omnisearch.cli.main import main; main()"
PLUGIN = """
from omnisearch.enrichment import Enricher

def note_stock(workspace, db, progress=None):
    with db.conn:
        noted = db.conn.execute("UPDATE pins SET caption = 'in stock'").rowcount
    progress(noted, noted)
    return {"items_changed": noted}

STOCK = Enricher("stock", "What the warehouse holds.", "shop_stock:note_stock", by_default=True)
SALE = Enricher("sale", "What is on sale.", "shop_stock:no_such_function")
"""


@pytest.fixture
def shop(tmp_path, db):
    """A folder with the module of a plug-in; the catalogue has 1,200 pins and nothing else."""
    pins = [(f"p{n}", "ein Stuhl", "de") for n in range(1200)]
    with db.conn:
        db.conn.executemany("INSERT INTO pins (id, title, language) VALUES (?, ?, ?)", pins)
    (tmp_path / "shop_stock.py").write_text(PLUGIN)
    return tmp_path


def captions(db):
    return {caption for (caption,) in db.conn.execute("SELECT caption FROM pins")}


@pytest.mark.parametrize("name", ENRICHERS)
def test_ours_take_a_workspace_a_catalogue_and_a_progress(name):
    arguments = list(inspect.signature(resolve_name(ENRICHERS[name].function)).parameters)
    assert arguments[:2] == ["workspace", "db"]
    assert "progress" in arguments


def test_listing_them_imports_nothing_heavy():
    heavy = "{'torch', 'transformers', 'numpy', 'pyarrow', 'sqlite_utils'}"
    code = (
        "import sys; from omnisearch.enrichment import ENRICHERS; "
        f"print(list(ENRICHERS), sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{list(ENRICHERS)} []"


def test_a_registered_enricher_is_run_by_name_and_by_default(
    workspace, db, shop, monkeypatch, capsys
):
    monkeypatch.setattr("omnisearch.enrichment.text.installed", lambda name: False)
    monkeypatch.syspath_prepend(shop)
    ENRICHERS.register(importlib.import_module("shop_stock").STOCK)
    folder = ["--workspace", str(workspace.root)]
    try:
        app(["enrich", "stock", *folder], standalone_mode=False)
        assert capsys.readouterr().out == "enrich stock: items changed 1,200\n"
        assert captions(db) == {"in stock"}
        app(["enrich", *folder], standalone_mode=False)
        lines = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
        assert lines == ["enrich boards", "enrich queries", "enrich graph", "enrich stock"]
    finally:
        ENRICHERS.remove("stock")


def test_an_enricher_of_an_installed_package_is_run(workspace, db, shop):
    installed = shop / "shop_stock-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-stock\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        "[omnisearch.enrichers]\nstock = shop_stock:STOCK\nsale = shop_stock:SALE\n"
    )
    env = {**os.environ, "PYTHONPATH": f"{shop}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}

    def enrich(*words):
        command = [sys.executable, "-c", MAIN, "enrich", *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)

    folder = ("-w", str(workspace.root))
    assert "What the warehouse holds." in enrich("--help").stdout
    answer = json.loads(enrich("stock", *folder, "--json").stdout)
    assert (answer["command"], answer["data"]) == ("enrich stock", {"items_changed": 1200})
    assert captions(db) == {"in stock"}
    done = enrich(*folder)
    assert done.returncode == 0, done.stderr
    assert "enrich stock: items changed 1,200" in done.stdout
    assert "enrich sale" not in done.stdout
    wrong = enrich("sale", *folder)
    assert wrong.returncode == 2
    assert "no_such_function" in wrong.stderr and "Traceback" not in wrong.stderr
