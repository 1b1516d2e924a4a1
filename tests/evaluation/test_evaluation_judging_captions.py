"""A judging of machine captions: what is drawn, what judges see, and the shares of the report."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from rich.console import Console
from scipy.stats import binomtest

from omnisearch.data.catalogue.schema import open_catalogue, set_meta, table_of
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt, InputError, NotReady
from omnisearch.evaluation.judging.answers import open_log
from omnisearch.evaluation.judging.apply import apply
from omnisearch.evaluation.judging.caption_findings import caption_report
from omnisearch.evaluation.judging.caption_markdown import caption_markdown
from omnisearch.evaluation.judging.captions import BROAD, OTHER, draw_captions
from omnisearch.evaluation.judging.folder import Judging
from omnisearch.evaluation.judging.session import ask
from omnisearch.evaluation.judging.sheets import export_sheet, import_sheet
from omnisearch.evaluation.significance import bootstrap_interval

JUDGES = ("anna", "ben", "cleo")


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "ws")


@pytest.fixture
def shop(space: Workspace) -> Any:
    return open_catalogue(space.catalogue, create=True)


def put(db: Any, key: str, entity: str = "product", *, made: bool = True, **fields: Any) -> None:
    """An item with a picture of its own and a caption that was made here, of that picture."""
    row = {"id": key, "title": f"Title of {key}", "image": f"{key}.jpg", "caption": f"a {key}"}
    row |= {k: orjson.dumps(v).decode() if not isinstance(v, str) else v for k, v in fields.items()}
    db[table_of(entity)].insert(row)
    if made:
        values = [entity, key, row["image"], row["caption"]]
        db.conn.execute("INSERT INTO machine_captions VALUES (?, ?, ?, ?)", values)
    db.conn.commit()


def drawn(space: Workspace, db: Any, name: str = "autumn", number: int = 30, seed: int = 0) -> Any:
    draw_captions(Judging.new(space, name), db, number, seed)
    return Judging.open(space, name)


def categories(judging: Judging) -> dict[str, str]:
    return {pair.item_id: pair.category for pair in judging.pairs.values()}


def test_each_category_gives_equally_many(space: Workspace, shop: Any) -> None:
    for name, size in (("Lamps", 50), ("Rugs", 20), ("Vases", 4)):
        for n in range(size):
            put(shop, f"{name}{n}", product_types=[name])
    judging = drawn(space, shop, number=24)
    # All the vases there are; the others make up for them.
    assert Counter(categories(judging).values()) == {"lamps": 10, "rugs": 10, "vases": 4}
    assert all(key.casefold().startswith(name[:-1]) for key, name in categories(judging).items())
    order = [name for name in categories(judging).values()]
    assert order != sorted(order)  # mixed, so that a judge who stops has seen all


def test_the_seed_decides_and_every_picture_has_the_same_chance(
    space: Workspace, shop: Any
) -> None:
    for n in range(40):
        put(shop, f"i{n}", product_types=["Lamps" if n < 20 else "Rugs"])

    def content(name: str, seed: int) -> bytes:
        return (drawn(space, shop, name, 10, seed).folder / "pairs.jsonl").read_bytes()

    assert content("a", 3) == content("b", 3) != content("c", 4)
    seen = Counter(
        key for seed in range(80) for key in categories(drawn(space, shop, f"s{seed}", 10, seed))
    )
    # Each is drawn in a quarter of the draws: 20 times, give or take four standard deviations.
    assert len(seen) == 40 and all(abs(times - 20) < 4 * 15**0.5 for times in seen.values())


def test_a_category_is_the_uppermost_and_most_common_one(space: Workspace, shop: Any) -> None:
    put(shop, "path", attributes={"category": "Home > Lamps"}, product_types=["Ignored"])
    put(shop, "list", attributes={"category": ["Rare", "Home > Rugs"]})
    put(shop, "types", product_types=["Home", "Boho"])
    put(shop, "boards", "pin", board_titles=["my HOME", "home", "stuff"])
    put(shop, "none", "pin")
    put(shop, "number", attributes={"category": 7})
    assert categories(drawn(space, shop)) == {
        **{"path": "home", "list": "home", "types": "home", "boards": "home"},
        **{"none": OTHER, "number": OTHER},
    }


def test_rare_categories_are_drawn_together(space: Workspace, shop: Any) -> None:
    for n in range(BROAD + 5):
        for copy in range(2 if n < BROAD else 1):
            put(shop, f"i{n}-{copy}", product_types=[f"type {n:02}"])
    counts = Counter(categories(drawn(space, shop, number=100)).values())
    assert counts == {**{f"type {n:02}": 2 for n in range(BROAD)}, OTHER: 5}


def test_only_captions_of_the_pictures_that_items_show(space: Workspace, shop: Any) -> None:
    for key in ("kept", "other picture", "other caption"):
        put(shop, key)
    put(shop, "imported", made=False)
    put(shop, "twin", "pin", image="kept.jpg")
    shop.conn.execute("UPDATE products SET image = 'new.jpg' WHERE id = 'other picture'")
    shop.conn.execute("UPDATE products SET caption = 'mine' WHERE id = 'other caption'")
    shop.conn.commit()
    judging = drawn(space, shop)
    [pair] = judging.pairs.values()  # one item of a picture, pins first
    assert (pair.item_id, pair.text, pair.image) == ("twin", "a twin", "kept.jpg")
    assert judging.design.notes == []


def test_imported_captions_are_drawn_only_if_none_was_made(space: Workspace, shop: Any) -> None:
    put(shop, "a", made=False)
    put(shop, "no caption", made=False, caption="")
    put(shop, "no picture", made=False, image="")
    set_meta(shop, "synthetic", True)
    shop.conn.commit()
    judging = drawn(space, shop)
    assert list(categories(judging)) == ["a"]
    synthetic, imported = judging.design.notes
    assert "Synthetic" in synthetic and "were imported" in imported
    assert f"> {imported}" in caption_markdown(caption_report(judging))


def test_what_cannot_be_drawn_is_explained_and_leaves_nothing(space: Workspace, shop: Any) -> None:
    put(shop, "bare", made=False, caption="")
    with pytest.raises(NotReady, match="No item has a picture and a caption") as caught:
        drawn(space, shop)
    assert caught.value.where and "enrich captions --model" in caught.value.how
    assert "import a column `caption`" in caught.value.how
    assert not space.judging.exists()
    put(shop, "a")
    before = (drawn(space, shop).folder / "pairs.jsonl").read_bytes()
    with pytest.raises(InputError, match="already exists"):
        drawn(space, shop, seed=1)
    assert (space.judging_of("autumn") / "pairs.jsonl").read_bytes() == before


@pytest.fixture
def judging(space: Workspace, shop: Any) -> Judging:
    """Twelve pictures, of lamps and of rugs."""
    for n in range(12):
        put(shop, f"i{n:02}", product_types=["Lamps" if n < 8 else "Rugs"])
    return drawn(space, shop)


def judge(judging: Judging, marks: Callable[[str, int], int | None]) -> None:
    """Let the three judges answer; `marks` takes an item and the number of a judge."""
    for place, name in enumerate(JUDGES):
        with open_log(judging, name) as log:
            log.add({pair.id: marks(pair.item_id, place) for pair in judging.pairs.values()})


def test_figures_equal_a_plain_count(judging: Judging) -> None:
    random = np.random.default_rng(0)
    given: dict[str, list[int | None]] = {
        pair.item_id: random.choice([4, 4, 4, 3, 2, 1], 3).tolist()
        for pair in judging.pairs.values()
    }
    given["i00"] = [4, 4, None]
    given["i01"] = [1, 1, 4]
    given["i02"] = [4, 3, 2]
    given["i03"] = [None, None, None]
    judge(judging, lambda item, place: given[item][place])
    found = caption_report(judging)
    told = {item: [mark for mark in marks if mark] for item, marks in given.items()}
    rated = [told[pair.item_id] for pair in judging.pairs.values() if told[pair.item_id]]
    assert (found.pictures, found.measured, found.undecided) == (12, 11, 1)
    assert found.judgments == sum(map(len, rated)) == 32
    assert found.lacking == 2  # i00 and i03
    for row in found.grades:
        hits = sum(2 * marks.count(row.grade) > len(marks) for marks in rated)
        wilson = binomtest(hits, 11).proportion_ci(method="wilson")
        assert row.pictures.mean == pytest.approx(hits / 11)
        assert [row.pictures.low, row.pictures.high] == pytest.approx([wilson.low, wilson.high])
        counts = [marks.count(row.grade) for marks in rated]
        assert row.judgments.mean == pytest.approx(sum(counts) / 32)
        interval = bootstrap_interval(counts, [len(marks) for marks in rated])
        assert (row.judgments.low, row.judgments.high) == interval
    assert [row.grade for row in found.grades] == [4, 3, 2, 1]
    assert [row.paper for row in found.grades] == [0.8784, None, None, 0.0116]
    by_majority = sum(row.pictures.mean for row in found.grades)
    assert found.no_majority.mean == pytest.approx(1 - by_majority) and by_majority < 1
    assert sum(row.judgments.mean for row in found.grades) == pytest.approx(1)
    for row, items in zip(found.categories, (range(8), range(8, 12)), strict=True):
        marks = [told[f"i{n:02}"] for n in items if told[f"i{n:02}"]]
        assert row.pictures == len(marks)
        for share, grade in ((row.good, 4), (row.poor, 1)):
            assert share.mean == np.mean([2 * m.count(grade) > len(m) for m in marks])
    assert [row.category for row in found.categories] == ["lamps", "rugs"]
    views = {"answers": (1, 2, 3, 4), "relevant": (0, 0, 1, 1), "quality": (0, 1, 0, 1)}
    for name, seen in views.items():
        pairs = [list(permutations((seen[mark - 1] for mark in m), 2)) for m in rated]
        raw = np.mean([np.mean([a == b for a, b in each]) for each in pairs if each])
        assert getattr(found, name).raw == pytest.approx(raw)
    anna = found.judges[0]
    own = [marks[0] for marks in given.values() if marks[0]]
    assert (anna.judge, anna.judgments, anna.cannot_tell) == ("anna", 11, 1)
    assert (anna.good, anna.poor) == (own.count(4) / 11, own.count(1) / 11)


def test_only_finished_pictures_count(judging: Judging) -> None:
    with open_log(judging, "anna") as log:
        log.add(dict.fromkeys(judging.pairs, 1))
    found = caption_report(judging)
    assert (found.measured, found.lacking, found.categories) == (0, 12, [])
    assert isnan(found.grades[0].pictures.mean) and isnan(found.grades[0].judgments.mean)
    text = caption_markdown(found)
    assert "No picture is finished" in text and "Only 0 of 12 pictures" in text
    assert "nan" not in text
    orjson.dumps(found.to_json())
    judge(judging, lambda item, place: 4 if item == "i00" else 3)
    assert caption_report(judging).grades[0].pictures.mean == pytest.approx(1 / 12)


def test_the_text_lines_up_and_has_the_papers_figures_beside(judging: Judging) -> None:
    judge(judging, lambda item, place: 4 if item < "i09" else 1)
    text = caption_markdown(caption_report(judging))
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({len(line) for line in block.splitlines()}) == 1
    [good] = [line for line in text.splitlines() if line.startswith("| relevant and of high")]
    assert "0.750 (0.468 to 0.911)" in good and good.endswith("0.8784 |")
    assert "0.0116" in text


def test_categories_are_neither_html_nor_markdown(space: Workspace, shop: Any) -> None:
    put(shop, "a", product_types=["<img src=x|`[a](javascript:b)\\"])
    put(shop, "b", product_types=["\x1b[31mred\u202e"])
    judging = drawn(space, shop)
    judge(judging, lambda item, place: 4)
    text = caption_markdown(caption_report(judging))
    assert r"| &lt;img src=x\|\`\[a\](javascript:b)\\ " in text
    assert "<" not in text and "\x1b" not in text and "\u202e" not in text


def session(judging: Judging, typed: str, folders: list[Path]) -> str:
    """What the judge saw."""
    stream, left = io.StringIO(), iter(typed)
    show = Console(file=stream, width=200).print
    ask(judging, "anna", folders, lambda: next(left, ""), show)
    return stream.getvalue()


def test_judges_see_the_picture_and_the_caption_alone(judging: Judging, tmp_path: Path) -> None:
    for pair in judging.pairs.values():
        (tmp_path / pair.image).touch()
    seen = session(judging, "5q", [tmp_path])
    first = next(iter(judging.pairs.values()))
    assert f"Caption {first.text}" in seen and f"Picture {tmp_path / first.image}" in seen
    assert "Press 1 to 4, ?" in seen and "Title of" not in seen and "lamps" not in seen
    assert all(f"{n}  " in seen for n in "1234") and "5  " not in seen
    path = tmp_path / "anna.csv"
    assert export_sheet(judging, "anna", path, [tmp_path]) == 12
    head, *rows = csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline=""))
    assert head[:-1] == ["pair", "judge", "caption", "picture"]
    assert head[-1].startswith("grade (4 relevant and of high quality, ")
    expected = [[p.id, "anna", p.text, str(tmp_path / p.image), ""] for p in judging.pairs.values()]
    assert rows == expected


def test_sheets_come_back_without_formulas_and_wrong_rows(space: Workspace, shop: Any) -> None:
    for n, caption in enumerate(("=HYPERLINK(1)", "+1", "@SUM(A1)", "-a", "a sofa")):
        put(shop, f"i{n}", caption=caption)
    judging = drawn(space, shop)
    path = space.root.parent / "anna.csv"
    export_sheet(judging, "anna", path)
    head, *rows = csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline=""))
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]
    for row, grade in zip(rows, ("4", "3.0", "5", "?", "1"), strict=True):
        row[-1] = grade
    rows[4][2] = "another caption"  # the column was sorted by itself
    text = io.StringIO(newline="")
    csv.writer(text).writerows([head, *rows])
    path.write_text(text.getvalue())
    report = import_sheet(judging, path)
    assert report.taken == 3
    assert [(row.line, row.field, row.reason) for row in report.refused] == [
        (4, "grade", "is not one of 1 to 4 or ?"),
        (6, "caption", "is not that of the pair"),
    ]


def test_captions_do_not_go_into_the_catalogue_as_judgments(judging: Judging, shop: Any) -> None:
    judge(judging, lambda item, place: 4)
    with pytest.raises(InputError, match="not for the catalogue") as caught:
        apply(judging, shop)
    assert "judge report autumn" in caught.value.how
    assert shop["judgments"].count == 0


def test_folders_tell_their_form(judging: Judging) -> None:
    path = judging.folder / "design.json"
    design = orjson.loads(path.read_bytes())
    path.write_bytes(orjson.dumps(design | {"form": "colours"}))
    with pytest.raises(Corrupt, match="'colours' is unknown"):
        _ = replace(judging).form
    del design["form"]  # as it was before captions could be judged
    path.write_bytes(orjson.dumps(design))
    assert replace(judging).form.text == "query"
