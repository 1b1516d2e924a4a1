"""The classification report as Markdown."""

from __future__ import annotations

from math import isfinite

from omnisearch.evaluation.classification.study import PAPER_GAIN, ClassificationReport


def markdown(report: ClassificationReport) -> str:
    """Tables of precision@1 by level, of recall@5, and of the gains over fastText."""
    levels = range(len(report.nodes))
    parts = ", ".join(f"{count:,} {part}" for part, count in report.queries.items())
    nodes = ", ".join(f"{count:,}" for count in report.nodes)
    covered = ", ".join(_percent(share) for share in report.coverage)
    lines = [
        f"Queries: {parts}. Nodes by level: {nodes}. Test queries of each level with a node that "
        f"training has: {covered}. {report.unseen:,} nodes have no training query.",
        "",
        "Precision@1 (95% interval over queries), the mean of "
        f"{len(report.seeds)} seeds; recall@5 after the slash:",
        "",
        "| system | " + " | ".join(f"level {at + 1}" for at in levels) + " |",
        "|---|" + "---|" * len(report.nodes),
    ]
    for system in report.systems:
        cells = [
            f"{level.precision:.3f} ({level.low:.3f}–{level.high:.3f}) / {level.recall_at_5:.3f}"
            if isfinite(level.precision)
            else "–"
            for level in system.levels
        ]
        lines.append(f"| {system.name} | " + " | ".join(cells) + " |")
    if report.gains:
        lines += ["", "Against fastText, paired by query (Holm-corrected p):", ""]
        lines.append("| system | " + " | ".join(f"level {at + 1}" for at in levels) + " | mean |")
        lines.append("|---|" + "---|" * (len(report.nodes) + 1))
        for name in dict.fromkeys(gain.system for gain in report.gains):
            cells = [
                f"{_percent(gain.relative, '+')} (p {gain.p_holm:.4f})"
                for gain in report.gains
                if gain.system == name
            ]
            mean = report.mean_gain(name)
            lines.append(f"| {name} | " + " | ".join(cells) + f" | {_percent(mean, '+')} |")
        lines.append(f"| the paper (§5.4) | {'| ' * len(report.nodes)}{PAPER_GAIN:+.0%} |")
    lines += ["", *report.notes] if report.notes else []
    return "\n".join(lines) + "\n"


def _percent(share: float | None, sign: str = "") -> str:
    """A share as a percentage; – for a level without test queries."""
    return f"{share:{sign}.1%}" if share is not None and isfinite(share) else "–"
