"""The sample world: what its files hold, and that the same seed writes the same ones."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from omnisearch.data.catalogue.pairs import evaluation_pairs, training_pairs
from omnisearch.data.catalogue.schema import ACTIONS, open_catalogue
from omnisearch.data.catalogue.splits import time_split
from omnisearch.data.text.normalise import normalise_query, words
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.files import sha256_file
from omnisearch.world import Size, generate
from omnisearch.world.population import END, START


@cache
def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


@cache
def log(world: Path) -> list[dict[str, Any]]:
    return pq.read_table(world / "engagements.parquet").to_pylist()


def items(world: Path) -> Iterator[dict[str, Any]]:
    yield from lines(world / "pins.jsonl")
    yield from lines(world / "products.jsonl")


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256_file(path) for path in files}


def test_the_same_seed_writes_the_same_files_and_another_seed_others(
    tiny_world: Path, tmp_path: Path
) -> None:
    generate("tiny", tmp_path / "again")
    generate("tiny", tmp_path / "other", seed=8)
    first, other = hashes(tiny_world), hashes(tmp_path / "other")
    assert hashes(tmp_path / "again") == first
    assert other["pins.jsonl"] != first["pins.jsonl"]
    assert other["engagements.parquet"] != first["engagements.parquet"]


def test_it_says_that_it_is_synthetic(tiny_world: Path, tiny_workspace: Workspace) -> None:
    meta = orjson.loads((tiny_world / "meta.json").read_bytes())
    assert meta["synthetic"] is True
    assert meta["pins"] + meta["products"] == 500
    db = open_catalogue(tiny_workspace.catalogue)
    assert db.execute("SELECT value FROM meta WHERE key = 'synthetic'").fetchone() == ("true",)
    sites = {item["domain"] for item in items(tiny_world)}
    assert all(site.endswith(".example") for site in sites)  # reserved: no site of anyone's


def test_every_row_can_be_imported(tiny_workspace: Workspace) -> None:
    db = open_catalogue(tiny_workspace.catalogue)
    imports = db.execute("SELECT kind, rows, taken, refused FROM imports").fetchall()
    assert {kind for kind, *_ in imports} >= {
        "pins",
        "products",
        "boards",
        "board_items",
        "queries",
        "engagements",
        "judgments",
    }
    assert all(rows == taken > 0 and refused == 0 for _, rows, taken, refused in imports)
    stored = db.execute("SELECT COUNT(*) FROM engagements").fetchone()[0]
    assert stored == next(rows for kind, rows, *_ in imports if kind == "engagements")


def test_coverage_is_that_of_the_paper(tiny_workspace: Workspace) -> None:
    db = open_catalogue(tiny_workspace.catalogue)
    share: dict[str, float] = {}
    for name, condition in {
        "text": "title IS NOT NULL OR description IS NOT NULL",
        "caption": "caption IS NOT NULL",
        "engaged": "engaged_queries IS NOT NULL",
        "board": "id IN (SELECT item_id FROM board_items)",
    }.items():
        union = " UNION ALL ".join(
            f"SELECT {condition} AS has FROM {table}" for table in ("pins", "products")
        )
        share[name] = db.execute(f"SELECT AVG(has) FROM ({union})").fetchone()[0]
    assert share["caption"] == 1.0
    assert share["text"] == pytest.approx(0.71, abs=0.05)
    assert share["board"] == pytest.approx(0.91, abs=0.05)
    assert share["engaged"] == pytest.approx(0.65, abs=0.05)


def test_queries_and_items_come_in_seven_languages_and_four_scripts(tiny_world: Path) -> None:
    asked = Counter(row["language"] for row in lines(tiny_world / "queries.jsonl"))
    written = Counter(item["language"] for item in items(tiny_world))
    assert set(asked) == set(written) == {"en", "de", "fr", "es", "it", "ja", "ru"}
    titles = "".join(item.get("title", "") for item in items(tiny_world))
    assert any("а" <= letter <= "я" for letter in titles)
    assert any("\u3040" <= letter <= "\u30ff" for letter in titles)
    assert any("\u4e00" <= letter <= "\u9fff" for letter in titles)


def test_queries_are_distinct_and_those_of_the_log_are_among_them(tiny_world: Path) -> None:
    ids = [normalise_query(row["text"]) for row in lines(tiny_world / "queries.jsonl")]
    assert len(set(ids)) == len(ids)
    assert {normalise_query(row["query"]) for row in log(tiny_world)} <= set(ids)
    assert normalise_query("antique copper bathroom sink") in ids


def test_items_are_often_engaged_with_by_queries_that_share_no_word_with_them(
    tiny_world: Path,
) -> None:
    text = {
        item["id"]: set(words(f"{item.get('title', '')} {item.get('description', '')}"))
        for item in items(tiny_world)
    }
    pairs = {(row["query"], row["item_id"]) for row in log(tiny_world) if row["action"] == "save"}
    strangers = [not set(words(query)) & text[item] for query, item in pairs]
    assert 0.3 < np.mean(strangers) < 0.9


def test_products_have_prices_and_the_fields_that_merchants_fill(tiny_world: Path) -> None:
    products = lines(tiny_world / "products.jsonl")
    assert all(product["price"] > 0 and product["brand"] for product in products)
    for field in ("colours", "materials", "patterns", "product_types"):
        assert any(product.get(field) for product in products), field
    assert any(product.get("size") for product in products)
    assert 0 < sum("campaign" in product for product in products) < len(products) / 4


def test_boards_have_tidy_and_useless_titles(tiny_world: Path) -> None:
    from omnisearch.world.templates import USELESS_BOARDS

    useless = {title for titles in USELESS_BOARDS.values() for title in titles}
    titles = [board["title"] for board in lines(tiny_world / "boards.jsonl")]
    assert 0.1 < np.mean([title in useless for title in titles]) < 0.5
    assert all(board["owner"] for board in lines(tiny_world / "boards.jsonl"))


def test_the_log_spans_over_two_years_roughly_in_order_of_time(tiny_world: Path) -> None:
    times = np.array([row["time"] for row in log(tiny_world)])
    assert times.min() >= START and times.max() <= END
    assert times.max() - times.min() > 2 * 365 * 86_400
    assert (
        np.diff(times).min() > -3 * 86_400
    )  # off-site actions are logged with their session's block


def test_each_act_follows_an_impression_of_the_same_item_at_the_same_place(
    tiny_world: Path,
) -> None:
    rows = log(tiny_world)
    key = ("session", "query", "entity", "item_id", "position")
    shown = {tuple(row[k] for k in key) for row in rows if row["action"] == "impression"}
    onsite = [row for row in rows if row["surface"] == "search"]
    assert {row["action"] for row in onsite} == set(ACTIONS)
    assert all(tuple(row[k] for k in key) in shown for row in onsite)
    # Nobody sees an item before it exists.
    born = {item["id"]: item["created_at"] for item in items(tiny_world)}
    assert all(born[r["item_id"]] <= r["time"] for r in rows if r["entity"] != "query")


def test_off_site_actions_are_purchases_of_products_without_a_position(tiny_world: Path) -> None:
    offsite = [row for row in log(tiny_world) if row["surface"] == "offsite"]
    assert {row["action"] for row in offsite} == {"add_to_cart", "checkout"}
    assert {row["entity"] for row in offsite} == {"product"}
    assert all(row["position"] is None for row in offsite)


def test_lower_positions_get_fewer_clicks(tiny_world: Path) -> None:
    shown: Counter[int] = Counter()
    engaged: Counter[int] = Counter()
    for row in log(tiny_world):
        if row["entity"] != "query" and row["position"]:
            tally = shown if row["action"] == "impression" else engaged
            tally[row["position"]] += 1
    rate = {position: engaged[position] / shown[position] for position in (1, 8)}
    assert rate[1] > 2 * rate[8] > 0


def test_the_three_judges_agree_more_than_by_chance_and_differ_as_documented(
    tiny_world: Path,
) -> None:
    grades: dict[str, dict[tuple[str, str], int]] = {}
    for row in lines(tiny_world / "judgments.jsonl"):
        grades.setdefault(row["judge"], {})[row["query"], row["item_id"]] = row["grade"]
    assert set(grades) == {"j1", "j2", "j3"}
    pairs = sorted(grades["j1"])
    given = {judge: np.array([grades[judge][pair] for pair in pairs]) for judge in grades}
    assert set(np.unique(given["j1"])) == {0, 1, 2, 3}
    for one, other in combinations(given, 2):
        assert 0.3 < cohens_kappa(given[one], given[other]) < 0.95
    assert given["j2"].mean() > given["j1"].mean() > given["j3"].mean()


def cohens_kappa(one: np.ndarray, other: np.ndarray) -> float:
    observed = np.mean(one == other)
    chance = sum(np.mean(one == grade) * np.mean(other == grade) for grade in range(4))
    return float((observed - chance) / (1 - chance))


def test_every_item_has_a_small_picture(tiny_world: Path) -> None:
    pictures = [tiny_world / item["image"] for item in items(tiny_world)]
    assert len(set(pictures)) == 500
    for path in pictures:
        assert path.stat().st_size < 1024
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_visual_features_are_nearest_to_items_of_the_same_kind(tiny_world: Path) -> None:
    vectors = np.load(tiny_world / "vectors-image-product.npy", allow_pickle=False)
    ids = (tiny_world / "vectors-image-product.ids").read_text().split()
    kinds = {p["id"]: p["product_types"][0] for p in lines(tiny_world / "products.jsonl")}
    kind = np.array([kinds[key] for key in ids])
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -1.0)
    hits = np.mean(kind[likeness.argmax(axis=1)] == kind)
    chance = np.mean(kind[:, None] == kind[None, :])
    assert vectors.shape == (100, 128) and vectors.dtype == np.float32
    assert 3 * chance < hits < 1.0


def test_noise_makes_image_vectors_say_less_and_changes_nothing_else(
    tiny_world: Path, tmp_path: Path
) -> None:
    generate("tiny", tmp_path / "noisy", picture_noise=4.0)

    def likeness(folder: Path) -> float:
        """The mean cosine of products of a kind."""
        vectors = np.load(folder / "vectors-image-product.npy", allow_pickle=False)
        kinds = [p["product_types"][0] for p in lines(folder / "products.jsonl")]
        same = np.array(kinds)[:, None] == np.array(kinds)[None, :]
        np.fill_diagonal(same, False)
        return float((vectors @ vectors.T)[same].mean())

    assert likeness(tmp_path / "noisy") < likeness(tiny_world) / 4
    for name in ("pins.jsonl", "products.jsonl", "queries.jsonl", "engagements.parquet"):
        assert (tmp_path / "noisy" / name).read_bytes() == (tiny_world / name).read_bytes()


def test_there_are_pairs_to_train_and_to_evaluate_on(tiny_workspace: Workspace) -> None:
    db = open_catalogue(tiny_workspace.catalogue)
    split = time_split(db)
    training = training_pairs(db, split)
    assert {name for name, table in training.items() if table.num_rows} == {
        "pin",
        "product",
        "offsite",
        "query",
    }
    evaluation = evaluation_pairs(db, split)
    assert evaluation["pin/save"].num_rows > 0


@pytest.mark.parametrize("pins", [1, 2, 37])
def test_a_world_may_be_very_small(tmp_path: Path, pins: int) -> None:
    summary = generate(Size(pins=pins), tmp_path / "small", pictures=False)
    assert summary["pins"] == pins == len(lines(tmp_path / "small/pins.jsonl"))
    assert len(log(tmp_path / "small")) > 0
    assert not (tmp_path / "small/pictures").exists()


def test_progress_ends_at_its_total(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    generate(Size(pins=20), tmp_path / "w", progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]


def test_a_wrong_size_or_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="huge"):
        generate("huge", tmp_path / "w")
    with pytest.raises(InputError, match="at least one pin"):
        Size(pins=0)
    (tmp_path / "mine").write_text("keep me")
    with pytest.raises(InputError, match="not empty"):
        generate("tiny", tmp_path)
    assert (tmp_path / "mine").read_text() == "keep me"
