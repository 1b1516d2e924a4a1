"""Dates with slashes are read as the file as a whole tells, and refused where it does not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from importing import jsonl, refusals, small_catalogue, table

from omnisearch.data.importers.files import ImportOptions, import_file
from omnisearch.data.importers.times import UNCLEAR
from omnisearch.data.workspace import Workspace


def dated(workspace: Workspace, folder, *texts: str, **options):
    """Import pins p0, p1 ... that were made at these times."""
    lines = [f'p{number};"{text}"\n' for number, text in enumerate(texts)]
    path = folder / "pins.csv"
    path.write_text("id;created_at\n" + "".join(lines))
    return import_file(workspace, path, options=ImportOptions(**options))


def times(workspace: Workspace) -> list[str]:
    rows = table(workspace, "pins", "id, created_at, title")
    return [f"{datetime.fromtimestamp(at, UTC):%d %b %H:%M}" for _, at, _ in rows]


@pytest.mark.parametrize(
    ("texts", "told", "found"),
    [
        (["05/08/2026", "25/08/2026 9:05"], "day", ["05 Aug 00:00", "25 Aug 09:05"]),
        (["5/8/2026 9:05 PM", "8/25/2026 12:00 AM"], "month", ["08 May 21:05", "25 Aug 00:00"]),
        (["25-08-2026, 10:00:30", "01-02-2026T03:04"], "day", ["25 Aug 10:00", "01 Feb 03:04"]),
        (
            ["25/08/2026", "2026-08-26", "7.8.2026"],
            "day",
            ["25 Aug 00:00", "26 Aug 00:00", "07 Aug 00:00"],
        ),
    ],
)
def test_a_file_tells_which_is_first(workspace, tmp_path, texts, told, found):
    report = dated(workspace, tmp_path, *texts)
    assert (report.left_out, times(workspace)) == (0, found)
    assert f"Dates such as 05/08/2026: the {told} is first." in report.notes


def test_a_file_that_does_not_tell_or_says_both_is_refused_by_value(workspace, tmp_path):
    for texts in (["05/08/2026", "06/08/2026"], ["25/08/2026", "08/25/2026", "01/02/2026"]):
        report = dated(workspace, tmp_path, *texts)
        assert refusals(report) == [(n, "created_at", UNCLEAR) for n in range(2, 2 + len(texts))]
        assert not any("Dates" in note for note in report.notes)


def test_a_day_that_the_decided_month_does_not_have_is_refused_alone(workspace, tmp_path):
    report = dated(workspace, tmp_path, "25/08/2026", "31/02/2026")
    assert refusals(report) == [(3, "created_at", "is neither ISO 8601 nor seconds")]


def test_events_of_a_log_with_such_dates(workspace, tmp_path):
    small_catalogue(workspace, tmp_path)
    path = tmp_path / "clicks.csv"
    rows = [f"{1 + n % 20:02}/08/2026 10:{n % 60:02};q{n};p1;save\n" for n in range(3000)]
    path.write_text("When;query;item_id;action\n" + "".join(rows))
    options = ImportOptions(mapping={"time": "When"}, constants={"entity": "pin"})
    report = import_file(workspace, path, "engagements", options)
    assert (report.taken, report.refused) == (3000, 0)
    moments = [at for _, at, _ in table(workspace, "engagements", "query, time, action")]
    days = {datetime.fromtimestamp(at, UTC).strftime("%d %b") for at in moments}
    assert days == {f"{day:02} Aug" for day in range(1, 21)}


def test_json_too(workspace, tmp_path):
    rows = [{"id": "p0", "created_at": "05/08/2026"}, {"id": "p1", "created_at": "25/08/2026"}]
    report = import_file(workspace, jsonl(tmp_path / "pins.jsonl", *rows))
    assert times(workspace) == ["05 Aug 00:00", "25 Aug 00:00"] and report.left_out == 0
