"""The report on a judging as Markdown that also reads well in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from omnisearch.evaluation.judging.findings import Agreement, GroupRow, JudgingReport
from omnisearch.evaluation.judging.scale import RELEVANT_FROM, WANTED
from omnisearch.evaluation.systems import Estimate
from omnisearch.evaluation.wording import p_text, system_name, table_cell

_METRICS = {
    "relevant": "Share of relevant results in the first {k}",
    "grade": "Mean grade of the first {k} results (1 to 5)",
}


def markdown(report: JudgingReport) -> str:
    """The whole report."""
    names = " and ".join(system_name(system) for system in report.systems)
    parts = [
        f"# Human relevance: {names}",
        *(f"> {note}" for note in report.notes),
        _progress(report),
        "## Agreement",
        agreement_table(
            {
                "five grades": report.grades,
                f"relevant or not ({RELEVANT_FROM} and up)": report.relevant,
            }
        ),
        "## Judges",
        _judges(report),
    ]
    if report.experiment:
        parts.append(f"How relevant they are: `omnisearch experiment report {report.experiment}`.")
        return "\n\n".join(parts) + "\n"
    for metric, title in _METRICS.items():
        parts += [f"## {title.format(k=report.k)}", _groups(report, metric)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _progress(report: JudgingReport) -> str:
    lines = [
        f"Judging `{report.name}`: {report.queries:,} queries, {report.pairs:,} pairs, "
        f"{report.judgments:,} judgments.",
        f"{report.lacking:,} pairs still lack judgments (they have fewer than {WANTED}).",
    ]
    if report.more:
        lines.append(f"{report.more:,} pairs have more than {WANTED}.")
    if report.undecided:
        lines.append(f"{report.undecided:,} pairs nobody could judge; they count for neither.")
    if report.measured < report.queries:
        lines.append(
            f"Only {report.measured:,} of {report.queries:,} queries are finished: the figures for "
            "the systems cover only these."
        )
    return " ".join(lines)


def agreement_table(found: Mapping[str, Agreement]) -> str:
    """Agreement of the same judgments seen in several ways, the finest first, a column for each."""
    ways = list(found.values())
    kappa = f"Fleiss' kappa ({ways[0].kappa_pairs:,} pairs with exactly {WANTED} judgments)"
    alpha = f"({ways[0].pairs:,} pairs with 2 or more)"
    rows = [
        [f"agreement of two judges {alpha}", *(number(way.raw) for way in ways)],
        [kappa, *(number(way.kappa) for way in ways)],
    ]
    for level in ways[0].alpha:
        name = f"Krippendorff's alpha, {level} {alpha}"
        rows.append([name, *(number(way.alpha.get(level)) for way in ways)])
    return table(["measure", *found], rows)


def _judges(report: JudgingReport) -> str:
    head = ["judge", "judgments", "cannot tell", "mean grade", "relevant", "agrees with others"]
    rows = [
        [
            *(row.judge, f"{row.judgments:,}", f"{row.cannot_tell:,}"),
            *(number(row.mean_grade), number(row.relevant), number(row.agrees)),
        ]
        for row in report.judges
    ]
    return table(head, rows) if rows else "Nobody has judged yet."


def _groups(report: JudgingReport, metric: str) -> str:
    if not report.measured:
        return "No query is finished: all of its pairs must be judged."
    names = [system_name(system) for system in report.systems]
    head = ["queries of", "number", *names, "difference", "gain", "p", "better / level / worse"]
    return table(head, [_group(row) for row in report.metrics[metric]])


def _group(row: GroupRow) -> list[str]:
    found = row.difference
    return [
        table_cell(row.group),
        f"{row.queries:,}",
        *(interval(estimate) for estimate in row.systems.values()),
        f"{found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f})",
        "–" if row.gain != row.gain else f"{row.gain:+.0%}",
        p_text(found.p_value),
        f"{found.wins} / {found.ties} / {found.losses}",
    ]


def interval(estimate: Estimate) -> str:
    """A mean with its interval."""
    return f"{estimate.mean:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def number(value: float | None) -> str:
    """Three places; a dash for None and NaN."""
    return "–" if value is None or value != value else f"{value:.3f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns, figures right-aligned."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return f"| {' | '.join(padded)} |"

    first, *others = widths
    rule = f"|{'-' * (first + 2)}|{'|'.join('-' * (width + 1) + ':' for width in others)}|"
    return "\n".join([line(head), rule, *(line(row) for row in rows)])
