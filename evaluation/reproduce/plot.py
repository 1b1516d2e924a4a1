"""A table as a bar chart: our figures, with the paper's as outlines beside them."""

from __future__ import annotations

import io

from omnisearch.evaluation.reproduce.table_report import Reproduction

COLOURS = ("#7a8ca3", "#2f6fde", "#e08a1e", "#3a9a5b")


def svg(made: Reproduction) -> bytes | None:
    """An SVG, or None if matplotlib (the extra `reproduce`) is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    columns, models = list(made.columns), list(made.figures)
    figure = Figure(figsize=(min(13.0, 3.0 + 0.32 * len(columns) * len(models)), 4.2))
    axes = figure.add_subplot()
    width = 0.8 / max(len(models), 1)
    for number, model in enumerate(models):
        colour = COLOURS[number % len(COLOURS)]
        for place, column in enumerate(columns):
            found = made.figures[model].get(column)
            if found is None:
                continue
            left = place - 0.4 + (number + 0.5) * width
            error = [[max(0.0, found.mean - found.low)], [max(0.0, found.high - found.mean)]]
            label = model if place == 0 else None
            axes.bar(left, found.mean, 0.9 * width, yerr=error, color=colour, label=label)
            if found.paper is not None:
                axes.bar(left, found.paper, 0.9 * width, fill=False, edgecolor=colour, ls=":")
    axes.set_xticks(range(len(columns)), columns, rotation=20, ha="right", fontsize=8)
    axes.set_ylabel("Recall@10")
    axes.set_title(
        f"{made.title}\nfilled: measured, with 95% intervals; dotted: the paper's", fontsize=9
    )
    axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=4)
    axes.spines[["top", "right"]].set_visible(False)
    content = io.BytesIO()
    figure.savefig(content, format="svg", bbox_inches="tight", metadata={"Date": None})
    return content.getvalue()
