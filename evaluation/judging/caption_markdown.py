"""The report on a judging of captions as Markdown that also reads well in a terminal."""

from __future__ import annotations

import re

from omnisearch.evaluation.judging.caption_findings import CaptionReport
from omnisearch.evaluation.judging.markdown import agreement_table, interval, number, table
from omnisearch.evaluation.judging.scale import WANTED


def caption_markdown(report: CaptionReport) -> str:
    """The whole report."""
    parts = [
        "# Machine captions: relevance and quality",
        *(f"> {note}" for note in report.notes),
        _progress(report),
        "## Captions",
        _grades(report),
        "## By category",
        _categories(report),
        "## Agreement",
        agreement_table(
            {
                "four answers": report.answers,
                "relevant or not": report.relevant,
                "of high quality or not": report.quality,
            }
        ),
        "## Judges",
        _judges(report),
    ]
    return "\n\n".join(parts) + "\n"


def _progress(report: CaptionReport) -> str:
    lines = [
        f"Judging `{report.name}`: {report.pictures:,} pictures, {report.judgments:,} judgments.",
        f"{report.lacking:,} pictures still lack judgments (they have fewer than {WANTED}).",
    ]
    if report.more:
        lines.append(f"{report.more:,} pictures have more than {WANTED}.")
    if report.undecided:
        lines.append(f"{report.undecided:,} pictures nobody could judge; they count nowhere.")
    if report.measured < report.pictures:
        lines.append(
            f"Only {report.measured:,} of {report.pictures:,} pictures are finished: the shares "
            "cover only these."
        )
    return " ".join(lines)


def _grades(report: CaptionReport) -> str:
    if not report.measured:
        return f"No picture is finished: it needs {WANTED} answers."
    rows = [
        [
            *(row.name, interval(row.pictures), interval(row.judgments)),
            "–" if row.paper is None else f"{row.paper:.4f}",
        ]
        for row in report.grades
    ]
    rows.append(["no majority", interval(report.no_majority), "–", "–"])
    return table(["captions", "pictures, by majority", "all judgments", "the paper"], rows)


def _categories(report: CaptionReport) -> str:
    rows = [
        [
            *(_escaped(row.category), f"{row.pictures:,}"),
            *(interval(row.good), interval(row.poor)),
        ]
        for row in report.categories
    ]
    return table(["category", "pictures", *_names(report)], rows)


def _judges(report: CaptionReport) -> str:
    head = ["judge", "judgments", "cannot tell", *_names(report), "agrees with others"]
    rows = [
        [
            *(row.judge, f"{row.judgments:,}", f"{row.cannot_tell:,}"),
            *(number(row.good), number(row.poor), number(row.agrees)),
        ]
        for row in report.judges
    ]
    return table(head, rows) if rows else "Nobody has judged yet."


def _names(report: CaptionReport) -> tuple[str, str]:
    """The best and the worst answer, whose shares the paper gives."""
    return report.grades[0].name, report.grades[-1].name


def _escaped(name: str) -> str:
    """A name that the catalogue gives, as text: neither HTML nor Markdown."""
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", name).replace("<", "&lt;")
