"""Judgments as CSV: what goes out, what comes back from spreadsheets, and what is refused."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judgings import SYSTEMS, make_judging, make_pair

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.evaluation.judging.answers import answers_of
from omnisearch.evaluation.judging.folder import Design, Judging, Shown, write_judging
from omnisearch.evaluation.judging.queries import DrawnQuery
from omnisearch.evaluation.judging.sheets import (
    SheetReport,
    escape,
    export_sheet,
    import_sheet,
    unescape,
)


@pytest.fixture
def judging(tmp_path: Path) -> Judging:
    return make_judging(tmp_path, {"sofa": ("ab", "bc"), "=1+1": ("de", "ed")})


def sheet(judging: Judging, judge: str = "anna") -> tuple[Path, list[list[str]]]:
    path = judging.folder.parent / f"{judge}.csv"
    export_sheet(judging, judge, path)
    return path, list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline="")))


def filled(judging: Judging, *grades: str, judge: str = "anna") -> tuple[Path, list[list[str]]]:
    """An exported sheet with these grades in its rows, and its rows."""
    path, rows = sheet(judging, judge)
    for row, grade in zip(rows[1:], grades, strict=False):
        row[-1] = grade
    write(path, rows)
    return path, rows


def write(path: Path, rows: list[list[str]], encoding: str = "utf-8-sig", **form: Any) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, **form).writerows(rows)
    path.write_bytes(text.getvalue().encode(encoding, "replace"))


def grades(judging: Judging, judge: str = "anna") -> list[int | None]:
    found = answers_of(judging, judge)
    return [found[pair] for pair in judging.pairs if pair in found]


def refusals(report: SheetReport) -> list[tuple[int, str, str]]:
    return [(row.line, row.field, row.reason) for row in report.refused]


def test_what_goes_out_names_no_system_and_no_rank(judging: Judging) -> None:
    path, rows = sheet(judging)
    words = {word.split()[0] for word in rows[0]}
    assert words == {
        *("pair", "judge", "query", "title", "description", "brand", "price"),
        *("picture", "link", "grade"),
    }
    text = path.read_text("utf-8-sig").casefold()
    assert not any(word in text for word in (*SYSTEMS, "system", "rank", "score"))
    assert [row[0] for row in rows[1:]] == list(judging.pairs)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")


def test_a_filled_sheet_is_taken_and_taking_it_again_changes_nothing(judging: Judging) -> None:
    path, _ = filled(judging, "5", " 4 ", "3.0", "2,0", "?")
    report = import_sheet(judging, path)
    assert (report.judge, report.rows, report.taken) == ("anna", 5, 5)
    assert report.refused == [] and report.rejects is None
    assert grades(judging) == [5, 4, 3, 2, None]
    log = (judging.answers / "anna.jsonl").read_bytes()
    again = import_sheet(judging, path)
    assert (again.taken, again.unchanged) == (0, 5)
    assert (judging.answers / "anna.jsonl").read_bytes() == log
    assert len(sheet(judging)[1]) == 1  # nothing is left to ask


def test_a_half_filled_sheet_leaves_the_rest_to_ask(judging: Judging) -> None:
    path, _ = filled(judging, "5", "", "3")
    report = import_sheet(judging, path)
    assert (report.taken, report.blank) == (2, 3)
    assert len(sheet(judging)[1]) == 4


def test_refused_rows_are_named_and_the_good_ones_kept(judging: Judging) -> None:
    path, rows = filled(judging, "5", "6", "good", "2", "1")
    rows.insert(4, ["p000000000000", "anna", "sofa", *[""] * 6, "4"])  # line 5
    rows.append([*rows[1][:-1], "4"])  # line 8: contradicts line 2
    rows.append(rows[1])  # line 9: says the same again
    rows.append(["", "anna", "sofa", *[""] * 6, "4"])
    rows.append([*rows[5][:2], "sofa", *rows[5][3:]])  # sorted apart from its query
    rows.append([rows[1][0], "ben", *rows[1][2:]])
    write(path, rows)
    report = import_sheet(judging, path)
    assert refusals(report) == [
        (3, "grade", "is not one of 1 to 5 or ?"),
        (4, "grade", "is not one of 1 to 5 or ?"),
        (5, "pair", "is not a pair of this judging"),
        (8, "grade", "contradicts an earlier one"),
        (10, "pair", "is missing"),
        (11, "query", "is not that of the pair"),
        (12, "judge", "is not anna, whose sheet this is"),
    ]
    assert report.rows == report.taken + report.unchanged + report.blank + len(report.refused)
    assert grades(judging) == [5, 2, 1]
    assert report.rejects is not None
    lines = [orjson.loads(line) for line in report.rejects.read_bytes().splitlines()]
    assert [entry["line"] for entry in lines] == [3, 4, 5, 8, 10, 11, 12]
    filled(judging, "5", "4", "4")
    assert import_sheet(judging, path).refused == [] and not report.rejects.exists()


def test_an_answer_given_before_is_only_replaced_when_asked(judging: Judging) -> None:
    import_sheet(judging, filled(judging, "5", "4")[0])
    path, rows = filled(judging)
    first = next(iter(judging.pairs))
    write(path, [rows[0], [first, "anna", "sofa", *[""] * 6, "1"]])
    report = import_sheet(judging, path)
    assert refusals(report) == [(2, "grade", "contradicts an earlier one")]
    assert grades(judging) == [5, 4]
    report = import_sheet(judging, path, replace=True)
    assert (report.taken, report.refused) == (1, [])
    assert answers_of(judging, "anna")[first] == 1


@pytest.mark.parametrize(
    ("encoding", "form"),
    [
        ("utf-8-sig", {"delimiter": ";"}),
        ("utf-8", {"delimiter": "\t"}),
        ("utf-16", {"delimiter": "\t"}),
        ("cp1252", {"delimiter": ";"}),
        ("utf-8", {"lineterminator": "\r"}),
        ("utf-8", {"lineterminator": "\n", "quoting": csv.QUOTE_ALL}),
    ],
)
def test_what_spreadsheets_make_of_it(tmp_path: Path, encoding: str, form: dict[str, Any]) -> None:
    judging = make_judging(tmp_path, {"küche": ("ab", "ba"), "кухня": ("cd", "dc")})
    path, rows = filled(judging, "5", "4", "3", "2")
    rows += [[""] * len(rows[0])] * 3  # empty rows below the table
    write(path, rows, encoding, **form)
    report = import_sheet(judging, path)
    assert (report.taken, report.refused) == (4, [])
    assert grades(judging) == [5, 4, 3, 2]


def test_the_columns_that_matter_in_any_order_and_case(judging: Judging) -> None:
    path, rows = filled(judging, "5", "4", "3", "2", "1")
    write(path, [["Grade", "note", "PAIR"], *[[row[-1], "x", row[0]] for row in rows[1:]]])
    with pytest.raises(InputError, match="names no judge"):
        import_sheet(judging, path)
    assert import_sheet(judging, path, "ben").taken == 5
    assert grades(judging, "ben") == [5, 4, 3, 2, 1]


def test_a_separator_line_and_a_quote_never_closed_cost_nothing_else(judging: Judging) -> None:
    path, _ = filled(judging, "5", "4", "3", "2", "1")
    lines = path.read_text("utf-8-sig").splitlines()
    lines[2] = lines[2].replace(",sofa,", ',"sofa,')
    lines[4] += ",,,surplus"
    path.write_text("\n".join(["sep=,", *lines]))
    report = import_sheet(judging, path)
    assert [(line, field) for line, field, _ in refusals(report)] == [(4, ""), (6, "")]
    assert grades(judging) == [5, 3, 1]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "needs a header"),
        (b"\n\n", "needs a header"),
        (b"pair,title\np1,x\n", "needs a header"),
        (b"pair,grade,grade\np1,1,2\n", "needs a header"),
        (b"\x00\x01\xff\xfe", "needs a header"),
        (b"pair,grade\n", "names no judge"),
    ],
)
def test_files_that_are_no_sheets_are_explained(
    judging: Judging, tmp_path: Path, content: bytes, what: str
) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=what) as caught:
        import_sheet(judging, path)
    assert str(path) in caught.value.where
    assert not list(judging.answers.iterdir())


def test_files_that_cannot_be_read_or_written_are_explained(judging: Judging) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        import_sheet(judging, Path("no-such-file"), "anna")
    with pytest.raises(InputError, match="cannot be written"):
        export_sheet(judging, "anna", Path("/proc/no/such.csv"))


def test_no_cell_is_a_formula(tmp_path: Path) -> None:
    bad = ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\tx", "＝1", "'=1"]
    judging = judging_of(tmp_path, [(text, text) for text in bad])
    _, rows = sheet(judging)
    cells = [cell for row in rows[1:] for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "＝"))]
    report = import_sheet(judging, filled(judging, *"1234512")[0])
    assert (report.taken, report.refused) == (7, [])


def judging_of(folder: Path, texts: list[tuple[str, str]]) -> Judging:
    """A judging of pairs with these queries and titles."""
    workspace = Workspace.create(folder)
    pairs = [
        make_pair(query, f"i{n}", title=title, description=title)
        for n, (query, title) in enumerate(texts)
    ]
    shown = [Shown(pair.query, "token", [pair.id]) for pair in pairs]
    queries = [DrawnQuery(pair.query, "head", 1, 1.0) for pair in pairs]
    design = Design(list(SYSTEMS), 1, seed=0, generation=1, checkpoint="c", drawn_at=0, notes=[])
    write_judging(workspace.judging / "spring", design, queries, pairs, shown)
    return Judging.open(workspace, "spring")


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
CELLS = st.one_of(TEXT, st.tuples(st.sampled_from("=+-@\t\r'＝"), TEXT).map("".join))


@given(CELLS)
def test_escaping_can_be_taken_back_and_leaves_no_formula(text: str) -> None:
    assert unescape(escape(text)) == text
    assert not escape(text).startswith(("=", "+", "-", "@", "\t", "\r"))


LINES = CELLS.map(lambda text: " ".join(text.split()) or "x")


@given(
    st.lists(st.tuples(LINES, LINES, st.sampled_from("12345?")), min_size=1, max_size=8),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\r\n", "\n"]),
)
def test_any_texts_go_out_and_come_back(
    tmp_path_factory: Any, rows: list[tuple[str, str, str]], separator: str, newline: str
) -> None:
    judging = judging_of(tmp_path_factory.mktemp("j"), [(q, t) for q, t, _ in rows])
    path, _ = filled(judging, *(grade for *_, grade in rows))
    table = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline="")))
    assert [unescape(row[3]) for row in table[1:]] == [title for _, title, _ in rows]
    write(path, table, delimiter=separator, lineterminator=newline)
    report = import_sheet(judging, path)
    assert report.refused == [] and report.taken == len(rows)
    assert grades(judging) == [None if g == "?" else int(g) for *_, g in rows]


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_with_words(tmp_path_factory: Any, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("j")
    judging = make_judging(folder, {"sofa": ("ab", "bc")})
    path = folder / "any.csv"
    for before in (b"", b"pair,grade\n", b"\xff\xfe", b"pair;grade\np;1\n"):
        path.write_bytes(before + content)
        try:
            report = import_sheet(judging, path, "anna")
            assert report.taken == 0
        except InputError:
            pass
