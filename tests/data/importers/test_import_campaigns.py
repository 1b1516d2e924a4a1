"""Campaigns are imported row by row; what is wrong or unknown is told, and nothing else is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisearch import pipeline
from omnisearch.data.catalogue.campaigns import CAMPAIGNS, Campaign, load_campaigns
from omnisearch.data.importers.campaigns import campaign_of
from omnisearch.data.importers.transaction import Report
from omnisearch.data.importers.value_checks import Refused
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, InputError

LAMP, RUG = {"entity": "product", "id": "lamp"}, {"entity": "pin", "id": "rug"}


@pytest.fixture
def shop(tmp_path: Path) -> Workspace:
    (tmp_path / "products.jsonl").write_text('{"id": "lamp", "title": "A lamp"}\n')
    (tmp_path / "pins.jsonl").write_text('{"id": "rug", "title": "A rug"}\n')
    space = Workspace.create(tmp_path / "shop")
    pipeline.import_files(space, [tmp_path / "products.jsonl", tmp_path / "pins.jsonl"])
    return space


def imported(shop: Workspace, *rows: Any, **options: Any) -> Report:
    path = shop.root.parent / "campaigns.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (report,) = pipeline.import_files(shop, [path], **options)
    return report


def refusals(report: Report) -> list[tuple[int, str, str]]:
    assert report.rejects is not None
    rows = [json.loads(line) for line in report.rejects.read_text().splitlines()]
    return [(row["line"], row["field"], row["row"]) for row in rows]


def test_a_file_of_campaigns_is_read_whole(shop: Workspace) -> None:
    report = imported(
        shop,
        {
            "id": "spring",
            "bid": 1.5,
            "items": [LAMP, "pin/rug", LAMP],
            "start": "2024-03-01T00:00:00+01:00",
            "end": "2024-06-01",
            "countries": ["us", "de"],
            "languages": ["de-AT"],
        },
    )
    assert (report.kind, report.taken, report.changed) == ("campaigns", 1, 1) and not report.notes
    assert load_campaigns(shop) == {
        "spring": Campaign(
            "spring",
            1.5,
            (("product", "lamp"), ("pin", "rug")),
            1_709_247_600,
            1_717_200_000,
            ("US", "DE"),
            ("de",),
        )
    }


def test_a_table_is_read_too(shop: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "campaigns.csv"
    path.write_text("id,bid,items,countries\na,2,product/lamp|pin/rug,US|DE\n")
    pipeline.import_files(shop, [path])
    found = load_campaigns(shop)["a"]
    assert found.items == (("product", "lamp"), ("pin", "rug"))
    assert found.countries == ("US", "DE") and found.end is None


def test_bad_rows_are_refused_by_field_and_the_others_taken(shop: Workspace) -> None:
    good = {"id": "good", "bid": 1, "items": [LAMP, {"entity": "thing", "id": "x"}]}
    report = imported(
        shop,
        {"id": "free", "bid": 0, "items": [LAMP]},
        {"id": "none", "items": [LAMP]},
        {"id": "empty", "bid": 1, "items": []},
        good,
        {"id": "past", "bid": 1, "items": [LAMP], "start": 2_000_000_000, "end": 1_900_000_000},
        {"id": "where", "bid": 1, "items": [LAMP], "countries": ["the United States"]},
    )
    assert set(load_campaigns(shop)) == {"good"} and load_campaigns(shop)["good"].items == (
        ("product", "lamp"),
    )
    assert refusals(report) == [
        (1, "bid", "refused"),
        (2, "bid", "refused"),
        (3, "items", "refused"),
        (4, "items", "taken"),
        (5, "end", "refused"),
        (6, "countries", "refused"),
    ]
    with pytest.raises(InputError):
        imported(shop, {"id": "good", "bid": 9, "items": [LAMP, "sofa"]}, strict=True)
    assert load_campaigns(shop)["good"].bid == 1


def test_a_campaign_replaces_that_of_its_id_alone(shop: Workspace) -> None:
    imported(
        shop,
        {"id": "a", "bid": 1, "items": [LAMP], "end": 1_800_000_000},
        {"id": "b", "bid": 1, "items": [RUG]},
    )
    report = imported(shop, {"id": "a", "bid": 2, "items": [RUG]})
    assert load_campaigns(shop)["a"] == Campaign("a", 2.0, (("pin", "rug"),))
    assert set(load_campaigns(shop)) == {"a", "b"} and report.changed == 1
    assert imported(shop, {"id": "a", "bid": 2, "items": [RUG]}).changed == 0


def test_unknown_items_are_told_and_kept(shop: Workspace) -> None:
    report = imported(shop, {"id": "a", "bid": 1, "items": [LAMP, "product/vase", "pin/lamp"]})
    (note,) = report.notes
    assert "Campaign a names 2 items" in note and "product/vase" in note and "pin/lamp" in note
    assert ("product", "vase") in load_campaigns(shop)["a"].items


def test_a_damaged_file_is_named_and_not_believed(shop: Workspace) -> None:
    imported(shop, {"id": "a", "bid": 1, "items": [LAMP]})
    content = shop.campaigns.read_bytes()
    shop.campaigns.write_bytes(content.replace(b'"bid":1.0', b'"bid":9.0'))
    with pytest.raises(Corrupt, match="campaigns"):
        load_campaigns(shop)


@pytest.mark.parametrize(
    "wrong",
    [
        {"items": [["query", "lamp"]]},
        {"bid": 0.0},
        {"bid": -1.0},
        {"start": 10**18},
        {"end": -1},
    ],
)
def test_a_right_hash_does_not_make_values_usable(shop: Workspace, wrong: dict[str, Any]) -> None:
    imported(shop, {"id": "a", "bid": 1, "items": [LAMP]})
    (line,) = shop.campaigns.read_bytes().splitlines()[1:]
    CAMPAIGNS.write(shop.campaigns, orjson.dumps(orjson.loads(line) | wrong))
    with pytest.raises(Corrupt, match="campaigns"):
        load_campaigns(shop)


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(("id", "bid", "items", "start", "end", "countries", "languages")), VALUES
    )
)
def test_any_row_is_a_campaign_or_is_refused(row: dict[str, Any]) -> None:
    try:
        found = campaign_of(row, lambda refused: None)
    except Refused as refused:
        assert refused.reason
    else:
        assert found.bid > 0 and found.items and found.id


def test_countries_and_languages_that_are_no_codes_are_told(shop: Workspace) -> None:
    rows = [
        {"id": "a", "bid": 1, "items": [LAMP], "countries": ["Germany", "US"]},
        {"id": "b", "bid": 1, "items": [LAMP], "countries": "Germany", "languages": "german"},
        {"id": "c", "bid": 1, "items": [LAMP], "countries": "de", "languages": "pt-BR"},
    ]
    country, language = imported(shop, *rows).notes
    assert country.startswith("The country of 2 rows is not a code such as US or DE")
    assert "'GERMANY'" in country
    assert language.startswith("The language of 1 row is not a code") and "'german'" in language
