"""How the report of an experiment is printed."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, isnan
from typing import TYPE_CHECKING, Any

from omnisearch.cli.common import out, table

if TYPE_CHECKING:
    from omnisearch.evaluation.experiments.interleaving import Preference
    from omnisearch.evaluation.experiments.ratio import Estimate
    from omnisearch.evaluation.experiments.relevance import Relevance, RelevanceLine
    from omnisearch.evaluation.experiments.report import Comparison, Report
    from omnisearch.evaluation.experiments.segments import Segment


def warnings(found: Report) -> Iterator[str]:
    from omnisearch.evaluation.experiments.searches import MOST_A_DAY

    if not found.split_as_planned:
        yield (
            "The variants do not have their planned shares of the users "
            f"(p = {found.split:.2g}): users are lost or doubled in one of them, and the figures "
            "are not to be trusted."
        )
    if found.mixed:
        yield (
            f"{found.mixed:,} users had several variants, or one that is not known; their searches "
            "are left out."
        )
    if found.robots:
        some = f"{found.robots:,} user{'s' * (found.robots != 1)}"
        yield f"{some} made over {MOST_A_DAY} searches in a day and are left out."
    if found.unknown:
        yield f"{found.unknown:,} searches that events name are not in the log."


def show_segments(found: list[Segment], left_out: dict[str, int]) -> None:
    from omnisearch.evaluation.experiments.segments import FEW

    rows: list[list[Any]] = []
    for each in found:
        relative = each.effect.relative
        users = sum(each.effect.users)
        shown = [lift(relative.value), between(relative), p_value(each.p_value)]
        rows.append([each.variant, f"{each.kind}: {each.value}", users, *shown])
    head = ["variant", "segment", "users", "fulfilment", "95% interval", "p"]
    if rows:
        table("Segments", head, rows)
        out.print(
            "Segments are exploratory: p is corrected for their number, the intervals are not. "
            "What one suggests needs an experiment of its own.",
            highlight=False,
        )
    if left_out:
        counts = ", ".join(f"{count:,} by {kind}" for kind, count in left_out.items())
        out.print(
            f"Segments with fewer than {FEW} users in a variant are not shown: {counts}.",
            highlight=False,
        )


def show(found: Comparison) -> None:
    rows: list[list[Any]] = []
    for line in found.lines:
        shown = percent if line.share else number
        relative = line.effect.relative
        rows.append(
            [
                *(line.measure, shown(line.effect.control.value)),
                *(shown(line.effect.treatment.value), lift(relative.value)),
                *(between(relative), p_value(line.p_value)),
            ]
        )
    title = f"{found.variant} beside the control"
    table(title, ["measure", "control", found.variant, "change", "95% interval", "p"], rows)
    change = found.deciding.relative
    sure = change.low > 0 or change.high < 0
    out.print(
        f"Fulfilment {lift(change.value)}, between {lift(change.low)} and {lift(change.high)} "
        f"however often one looks: {'this is no chance' if sure else 'this may be chance'}.",
        highlight=False,
    )
    out.print(
        f"So many users show a change of {found.detectable:.1%} in 80% of cases. What they did "
        f"before the start takes {max(0.0, found.removed):.0%} of the variance away.",
        highlight=False,
    )


def show_relevance(name: str, found: Relevance | None) -> None:
    if found is None:
        return out.print(
            f"Nobody has judged how relevant the first results are: `omnisearch judge experiment "
            f"{name}` draws what the variants showed.",
            highlight=False,
        )
    for variant in dict.fromkeys(line.variant for line in found.lines):
        rows = [_relevance_row(line) for line in found.lines if line.variant == variant]
        head = ["measure", "searches", "queries", "control", variant, "difference", "95% interval"]
        table(f"Relevance of the first {found.k} results of {variant}, by judges", head, rows)
    out.print(
        f"{found.judged:,} of {found.queries:,} drawn queries are judged; {found.lacking:,} pairs "
        + (
            f"lack judgments: `omnisearch judge ask {name} --judge NAME`."
            if found.lacking
            else "lack judgments."
        ),
        highlight=False,
    )


def _relevance_row(line: RelevanceLine) -> list[Any]:
    from omnisearch.evaluation.experiments.relevance import WEIGHTED

    change = line.difference
    judged = f"{line.judged[0]:,} / {line.judged[1]:,}"
    figures = ["too few", "", "", ""]
    if not isnan(change.low):
        figures = [
            *(f"{line.control.value:.3f}", f"{line.treatment.value:.3f}"),
            *(f"{change.value:+.3f}", f"{change.low:+.3f} to {change.high:+.3f}"),
        ]
    name = line.measure if line.segment == WEIGHTED else f"{line.measure}, {line.segment}"
    return [name, f"{line.share:.0%}", judged, *figures]


def show_preference(found: Preference, name: str) -> None:
    share = found.share
    if not found.searches or isnan(share.low):
        return out.print("Too few users have chosen a result that one variant alone had there.")
    sure = share.low > 0.5 or share.high < 0.5
    out.print(
        f"In {percent(share.value)} of {found.searches:,} searches users chose rather what {name} "
        f"had (95% interval at one look: {percent(share.low)} to {percent(share.high)}; half is "
        f"no preference): {'this is no chance' if sure else 'this may be chance'}.",
        highlight=False,
    )
    out.print(
        f"{found.wins:,} users prefer {name}, {found.losses:,} the control, and {found.ties:,} "
        f"neither (sign test: p {p_value(found.sign_p_value)}).",
        highlight=False,
    )


def between(change: Estimate) -> str:
    known = abs(change.low) < inf and abs(change.high) < inf
    return f"{lift(change.low)} to {lift(change.high)}" if known else ""


def p_value(value: float) -> str:
    if isnan(value):
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def percent(value: float) -> str:
    return "" if isnan(value) else f"{value:.2%}"


def number(value: float) -> str:
    return f"{value:.2f}"


def lift(value: float) -> str:
    return f"{value:+.1%}" if abs(value) < inf else "unknown"
