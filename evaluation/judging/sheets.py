"""Judgments as CSV: exporting a sheet to fill in, and importing the filled-in sheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from omnisearch.data.importers.value_checks import Refused
from omnisearch.data.text.normalise import normalise
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.files import write_atomic
from omnisearch.evaluation.judging.answers import Answers, answers_of, open_log, still_to_ask
from omnisearch.evaluation.judging.folder import Judging, Pair, check_name
from omnisearch.evaluation.judging.scale import Form
from omnisearch.evaluation.judging.session import picture_place
from omnisearch.evaluation.judging.sheet_reader import SheetRow, read_rows
from omnisearch.evaluation.wording import price_text

# Spreadsheets may run cells with these prefixes as formulas; the last four are full-width forms.
# The apostrophe is escaped too, so that reading exactly reverses writing.
_FORMULA = tuple("=+-@\t\r'＝＋－＠")


@dataclass(frozen=True)
class RefusedRow:
    """A rejected row; `line` is its first line in the file, from 1."""

    line: int
    field: str
    reason: str
    value: str


@dataclass(frozen=True)
class SheetReport:
    """Counts of an imported sheet: `rows` = `taken` + `unchanged` + `blank` + `refused`.

    Attributes:
        taken: answers that are new or replace an earlier one.
        unchanged: rows that repeat the judge's earlier answer.
        blank: rows without a grade.
        rejects: the file that lists the rejected rows, or None.
    """

    file: str
    judge: str
    rows: int
    taken: int
    unchanged: int
    blank: int
    refused: list[RefusedRow]
    rejects: Path | None


def escape(text: str) -> str:
    """The cell, escaped so that spreadsheets do not run it as a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def unescape(cell: str) -> str:
    """Undo `escape`, even if a spreadsheet dropped the apostrophe."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell


def export_sheet(judging: Judging, judge: str, path: Path, folders: Sequence[Path] = ()) -> int:
    """Write the pairs that this judge has yet to answer; returns how many.

    Args:
        folders: base folders for relative paths of pictures.

    Raises:
        InputError: the name is invalid, or the file cannot be written.
    """
    check_name(judge, "judge")
    pairs = still_to_ask(judging, judge)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    form = judging.form
    writer.writerow([*form.columns, f"grade ({form.legend})"])
    for pair in pairs:
        cells = _cells(form, pair, folders) | {"judge": judge}
        writer.writerow([escape(cells[column]) for column in form.columns] + [""])
    try:
        # Excel reads a file as UTF-8 only if it begins with a BOM.
        write_atomic(path, text.getvalue().encode("utf-8-sig", "replace"))
    except OSError as error:
        raise InputError(
            f"The sheet cannot be written ({error.strerror}).", where=str(path)
        ) from error
    return len(pairs)


def _cells(form: Form, pair: Pair, folders: Sequence[Path]) -> dict[str, str]:
    return {
        "pair": pair.id,
        form.text: pair.text,
        "title": pair.title,
        "description": pair.description,
        "brand": pair.brand,
        "price": price_text(pair.price, pair.currency),
        "picture": picture_place(pair.image, folders),
        "link": pair.link,
    }


def import_sheet(
    judging: Judging, path: Path, judge: str | None = None, replace: bool = False
) -> SheetReport:
    """Import the grades of a sheet, rejecting invalid rows one by one.

    A row needs `pair` and `grade`. A `judge`, if given, must be the sheet's judge, and a `query`
    or `caption` must be the pair's, which detects sheets whose columns were sorted separately. A
    grade that contradicts an earlier row or answer is rejected; with `replace` it replaces the
    earlier answer.

    Args:
        judge: None for the judge named by the first row with a `judge`.

    Raises:
        InputError: the file cannot be read, or the judge is judging in another window.
    """
    rows = list(read_rows(path))
    judge = judge or _judge_of(path, rows)
    with open_log(judging, judge) as log:
        before = answers_of(judging, judge)
        found: Answers = {}
        refused = []
        blank = 0
        for row in rows:
            try:
                if row.error:
                    raise Refused("", row.error)
                if not row.cells["grade"].strip():
                    blank += 1
                    continue
                pair, grade = _answer(judging, judge, row.cells)
                earlier = found if pair in found or replace else before
                if earlier.get(pair, grade) != grade:
                    raise Refused("grade", "contradicts an earlier one", f"{row.cells['grade']}")
                found[pair] = grade
            except Refused as error:
                shown = str(error.value or "")[:200]
                refused.append(RefusedRow(row.line, error.field, error.reason, shown))
        new = {p: g for p, g in found.items() if p not in before or before[p] != g}
        if new:
            log.add(new)
    return SheetReport(
        file=str(path),
        judge=judge,
        rows=len(rows),
        taken=len(new),
        unchanged=len(rows) - len(new) - blank - len(refused),
        blank=blank,
        refused=refused,
        rejects=_write_rejects(judging, judge, refused),
    )


def _judge_of(path: Path, rows: list[SheetRow]) -> str:
    for row in rows:
        if name := unescape(row.cells.get("judge", "").strip()):
            return name
    raise InputError("The file names no judge.", where=str(path), how="Give --judge.")


def _answer(judging: Judging, judge: str, cells: dict[str, str]) -> tuple[str, int | None]:
    named = unescape(cells.get("judge", "").strip())
    if named and named != judge:
        raise Refused("judge", f"is not {judge}, whose sheet this is", named)
    key = unescape(cells["pair"].strip())
    pair = judging.pairs.get(key)
    if pair is None:
        raise Refused("pair", "is not a pair of this judging" if key else "is missing", key)
    text = cells.get(judging.form.text)
    if text is not None and normalise(unescape(text)) != normalise(pair.text):
        raise Refused(judging.form.text, "is not that of the pair", text)
    return pair.id, judging.form.parse(unescape(cells["grade"].strip()))


def _write_rejects(judging: Judging, judge: str, refused: list[RefusedRow]) -> Path | None:
    """Write the rejected rows of this judge's last sheet; no file if there are none."""
    path = judging.folder / f"rejects-{judge}.jsonl"
    if not refused:
        path.unlink(missing_ok=True)
        return None
    write_atomic(path, b"".join(orjson.dumps(asdict(row)) + b"\n" for row in refused))
    return path
