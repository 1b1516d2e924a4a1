"""The whole stack through the command line, on the tiny sample world."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commandline import omnisearch


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "ws"
    done = omnisearch("demo", "--preset", "tiny", "--workspace", folder)
    assert "antique copper bathroom sink" in done.stdout
    assert "synthetic" in done.stdout.lower()
    assert "true fulfilment@8" in done.stdout and "best possible" in done.stdout
    return folder


def envelope(*words: object) -> dict:
    found = json.loads(omnisearch(*words, "--json").stdout)
    assert found["schema_version"] == 1
    return found["data"]


def test_search_answers_with_hits_and_every_stage_explained(demo: Path) -> None:
    data = envelope("search", "copper sink", "-w", demo, "-k", 5, "--explain")
    assert len(data["hits"]) == 5
    assert [hit["rank"] for hit in data["hits"]] == [1, 2, 3, 4, 5]
    assert all(hit["explain"] for hit in data["hits"])
    assert data["generation"] == 1


def test_filters_reach_the_results(demo: Path) -> None:
    data = envelope("search", "sofa", "-w", demo, "--entity", "product", "--price-max", 500)
    assert data["hits"]
    assert all(hit["entity"] == "product" and hit["price"] <= 500 for hit in data["hits"])


def test_every_command_answers_in_the_envelope(demo: Path) -> None:
    assert envelope("status", "-w", demo)["next"] is None
    assert envelope("index", "status", "-w", demo)
    verified = envelope("index", "verify", "-w", demo)
    assert verified["problems"] == [] and {"catalogue", "generation"} <= set(verified["checked"])
    assert envelope("rank", "report", "-w", demo)["ndcg@10"]
    assert envelope("cache", "warm", "-w", demo, "--head", 5)["asked"] == 5
    assert envelope("cache", "stats", "-w", demo)["entries"] >= 5
    tables = {row["name"]: row for row in envelope("evaluate", "-w", demo)["tables"]}
    true = tables["the sample world's truth, which no real log tells"]
    assert true["metrics"]["full"]["true fulfilment@8"]["mean"] > 0.3
    assert true["ceiling"]["true fulfilment@8"] < 1 == true["ceiling"]["nDCG@10 by all true grades"]
    assert true["against"]["true fulfilment@8"]["token"]["low"] < 1


def test_the_query_tower_is_exported_and_measured(demo: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    shutil.copytree(demo, workspace, ignore=shutil.ignore_patterns("world"))
    data = envelope("export", "onnx", "-w", workspace)
    assert data["float32"]["cosine"] > 0.999 and data["int8"]["pairs"] > 100
    assert data["serves"] == ("int8" if data["int8"]["kept"] else "float32")
    assert data["int8"]["kept"] == (data["int8"]["recall_loss"] < 0.005)
    assert (Path(data["folder"]) / "query.onnx").is_file()
    assert envelope("search", "sofa", "-w", workspace)["hits"]
    assert envelope("export", "beir", tmp_path / "beir", "-w", workspace)["documents"] > 0


def test_the_comparison_page_stands_alone(demo: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    data = envelope("compare", "wool coat", "-w", demo, "--html", page)
    assert [column["system"] for column in data["columns"]] == ["token", "embedding", "full"]
    html = page.read_text()
    assert "synthetic" in html.lower()
    assert "<script" not in html
    assert 'src="http' not in html


def test_a_query_file_is_compared_with_a_test_of_significance(demo: Path, tmp_path: Path) -> None:
    queries = tmp_path / "queries.txt"
    queries.write_text("wool coat\ncopper sink\nsofa\n")
    data = envelope("compare", "--queries", queries, "-w", demo, "--systems", "token,full")
    assert data["queries"] == 3
    assert data["pairs"][0]["overlap"] <= 1


def test_update_shows_an_item_added_after_the_first_build(demo: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    shutil.copytree(demo, workspace, ignore=shutil.ignore_patterns("world"))
    new = tmp_path / "pins.jsonl"
    new.write_text('{"id": "new-pin", "title": "zyzzyva beetle brooch"}\n')
    omnisearch("import", new, "-w", workspace)
    omnisearch("index", "update", "-w", workspace)
    first = envelope("search", "zyzzyva beetle brooch", "-w", workspace, "--system", "token")
    assert first["hits"][0]["id"] == "new-pin"
    assert first["generation"] == 2
    omnisearch("index", "rollback", "-w", workspace)
    again = envelope("search", "zyzzyva beetle brooch", "-w", workspace, "--system", "token")
    assert again["generation"] == 1
    assert "new-pin" not in [hit["id"] for hit in again["hits"]]


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("search", ""), 2, "empty"),
        (("search", "sofa", "--entity", "cat"), 2, "cat"),
        (("search", "sofa", "--system", "magic"), 2, "magic"),
        (("compare",), 2, "--queries"),
        (("compare", "sofa", "--systems", "token,magic"), 2, "magic"),
        (("compare", "--queries", "no-such-file"), 2, "no-such-file"),
        (("index", "rollback", "--number", 99), 2, "99"),
        (("train", "--preset", "huge"), 2, "huge"),
        (("import", "no-such-file"), 2, "no-such-file"),
        (("import", "pyproject.toml", "--map", "title"), 2, "--map"),
        (("import", "pyproject.toml", "--format", "csv2"), 2, "csv2"),
        (("enrich", "queries", "--until", "soon"), 2, "--until"),
    ],
)
def test_wrong_input_gets_a_paragraph_not_a_traceback(
    demo: Path, words: tuple, status: int, says: str
) -> None:
    done = omnisearch(*words, "-w", demo, check=False)
    assert done.returncode == status, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_ten_thousand_characters_and_six_scripts_are_searched(demo: Path) -> None:
    for query in ("sofa " * 2000, "北欧 ソファ", "диван", "कुर्सी", "كرسي", "καναπές", "ספה"):
        assert envelope("search", query, "-w", demo, "-k", 3)["hits"]


def test_the_demo_leaves_a_folder_alone_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("keep")
    done = omnisearch("demo", "--workspace", tmp_path, "--preset", "tiny", check=False)
    assert done.returncode == 2
    assert (tmp_path / "precious.txt").read_text() == "keep"
