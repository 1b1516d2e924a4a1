"""Quotes in CSV and TSV files: a stray one loses its own line, a meant one holds line ends."""

from __future__ import annotations

import csv
import io
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from importing import refusals, table

from omnisearch.data.importers.csv_rows import RECORD_LINES, csv_rows
from omnisearch.data.importers.files import import_file

COMMA_OR_TAB = pytest.mark.parametrize("delimiter", [",", "\t"])


def read(text, delimiter=","):
    """The rows of a file: (line, cells or None)."""
    lines = enumerate(text.encode().splitlines(keepends=True), 1)
    rows, _ = csv_rows("a file", lines, delimiter)
    return [
        (row.line, row.values and tuple(cell or "" for cell in row.values.values())) for row in rows
    ]


def read_rows(text, delimiter=","):
    """The rows that can be read, and the lines of the others."""
    rows = read(text, delimiter)
    return [row for _, row in rows if row], [line for line, row in rows if row is None]


@COMMA_OR_TAB
def test_a_quote_that_is_never_closed_loses_one_row_of_2000(workspace, tmp_path, delimiter):
    rows = [f"cq{i}{delimiter}pan {i}{delimiter}1.5" for i in range(2000)]
    rows[50] = f'cq50{delimiter}"12 inch pan{delimiter}1.5'
    rows[1500] = f'cq1500{delimiter}"two lines,\nhere"{delimiter}2'
    path = tmp_path / ("products.csv" if delimiter == "," else "products.tsv")
    path.write_text("\n".join([delimiter.join(("id", "title", "price")), *rows]) + "\n")
    report = import_file(workspace, path)
    assert (report.rows, report.taken, report.refused) == (2000, 1999, 1)
    assert refusals(report) == [(52, None, "is not valid CSV: a quote is not closed in its row")]
    titles = {key: title for key, title, _ in table(workspace, "products", "id, title, price")}
    assert titles["cq1500"] == "two lines,\nhere"


@COMMA_OR_TAB
@pytest.mark.parametrize("later", ['pan 27"', '"pan" 27', '"12 inch', '27" pan', '""'])
def test_a_second_stray_quote_merges_no_rows(delimiter, later):
    """Wherever the second one lies, and also where the columns come out right."""
    rows = [f"q{i}{delimiter}pan{delimiter}5" for i in range(20)]
    rows[3] = f'q3{delimiter}"12 inch{delimiter}5'
    rows[9] = f"q9{delimiter}{later}{delimiter}5"
    header = delimiter.join(("id", "title", "price"))
    found, lost = read_rows("\n".join([header, *rows]), delimiter)
    assert {row[0] for row in found} >= {f"q{i}" for i in range(20) if i not in (3, 9)}
    assert 5 in lost and set(lost) <= {5, 11}
    assert len(found) + len(lost) == 20


def test_lines_of_a_quote_that_are_prose_are_one_text():
    text = (
        "id,title,price\n"
        'a,"Soft, warm\nand light, see below",5\n'
        'b,"\n\nOne\n\n\nTwo, three, four\n",6\n'
        'c,"a ""quoted"" word,\r\nand more",7\r\n'
    )
    assert read_rows(text) == (
        [
            ("a", "Soft, warm\nand light, see below", "5"),
            ("b", "\n\nOne\n\n\nTwo, three, four\n", "6"),
            ("c", 'a "quoted" word,\r\nand more', "7"),
        ],
        [],
    )


def test_a_text_of_many_lines_is_read_and_one_past_the_bound_loses_its_lines():
    most = "\n".join(["word"] * (RECORD_LINES - 1))
    assert read_rows(f'id,title\na,"{most}"\nb,x\n') == ([("a", most), ("b", "x")], [])
    found, lost = read_rows(f'id,title\na,"{most}\nword\nword"\nb,x\n')
    assert found == [("b", "x")]
    assert lost == list(range(2, RECORD_LINES + 3))


def test_two_neighbours_with_a_stray_quote_are_both_refused():
    text = 'id,title,price\na,"12 inch,5\nb,27",6\nc,pan,7\n'
    assert read_rows(text) == ([("c", "pan", "7")], [2, 3])


def test_a_quote_that_stays_open_in_every_line_costs_linear_time():
    lines = 'a",x,"b\n' * 30_000
    start = time.process_time()
    found, lost = read_rows("id,title,price\n" + lines)
    assert (found, len(lost)) == ([], 30_000)
    assert time.process_time() - start < 5


words = st.text(st.sampled_from("abcdefgh"), min_size=1, max_size=5)
plain = st.lists(words, min_size=1, max_size=4).map(" ".join)
prose = st.lists(words | st.sampled_from(['"x"', "and, so", "7,", '27"', "\n", "\n\n"]), max_size=8)
# A text that begins with a line end can look like the end of another, so none here does.
cells = st.tuples(plain, plain | prose.map(" ".join).map(str.lstrip), plain)


@st.composite
def damaged(draw):
    """(rows, text of the file, its damaged rows): stray quotes in rows that need none."""
    delimiter = draw(st.sampled_from(",\t"))
    rows = draw(st.lists(cells, min_size=1, max_size=30))
    rows = [(f"{i}", *row) for i, row in enumerate(rows)]
    texts = []
    for row in rows:
        file = io.StringIO()
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerow(row)
        texts.append(file.getvalue())
    unquoted = [i for i, text in enumerate(texts) if '"' not in text]
    hit = draw(st.sets(st.sampled_from(unquoted), max_size=4)) if unquoted else set()
    for i in hit:
        parts = list(rows[i])
        at = draw(st.integers(1, 3))
        parts[at] = draw(st.sampled_from(['"{}', '{}"', '"{}" x', 'x "{}"'])).format(parts[at])
        texts[i] = delimiter.join(parts) + "\n"
    header = delimiter.join(("id", "title", "text", "brand")) + "\n"
    return delimiter, rows, header + "".join(texts), hit


@settings(max_examples=400, deadline=None)
@given(damaged())
def test_only_damaged_rows_are_lost(case):
    delimiter, rows, text, hit = case
    found, lost = read_rows(text, delimiter)
    whole = [row for i, row in enumerate(rows) if i not in hit]
    assert [row for row in found if int(row[0]) not in hit] == whole
    assert len(found) + len(lost) == len(rows)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(*[st.text(st.sampled_from('ab ,;\t"\n\r'), max_size=12)] * 3), max_size=8)
)
def test_every_line_is_in_a_row_that_is_read_or_refused(rows):
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerows(rows)
    text = "id,title,price\n" + file.getvalue()
    lines = [line for line, _ in read(text)]
    assert lines == sorted(set(lines))
    assert len(lines) >= sum(1 for row in rows if any(row)) or not rows
