"""A table at several budgets: whether a finding is one of short trainings, or holds."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

import orjson

from omnisearch.data.workspace.files import write_atomic
from omnisearch.evaluation.reproduce.plot import COLOURS
from omnisearch.evaluation.reproduce.reproduce import OnRun, Reproduce, reproduce_table
from omnisearch.evaluation.reproduce.spec import Table
from omnisearch.evaluation.reproduce.table_report import Reproduction
from omnisearch.evaluation.wording import table_cell

Budgets = Mapping[int, Reproduction]  # steps, ascending → the table
PER_ROW = 3  # plots beside each other


def reproduce_curve(
    name: str, table: Table, options: Reproduce, steps: Sequence[int], on_run: OnRun | None = None
) -> tuple[str, list[dict[str, Any]]]:
    """The table at each budget, as Markdown and plain values.

    Every budget is a training of its own, with its own warm-up and decay. Writes `<name>-<steps>.*`
    of each, and `<name>-curve.md`, `.json` and, with matplotlib, `.svg`. Raises as
    `reproduce_table`.
    """
    budgets = {
        count: reproduce_table(f"{name}-{count}", table, replace(options, steps=count), on_run)
        for count in sorted(set(steps))
    }
    text, values = curve_markdown(budgets), [made.to_json() for made in budgets.values()]
    write_atomic(options.folder / f"{name}-curve.md", text.encode())
    content = orjson.dumps(values, option=orjson.OPT_INDENT_2)
    write_atomic(options.folder / f"{name}-curve.json", content)
    picture = curve_svg(budgets, table.decides)
    if picture is not None:
        write_atomic(options.folder / f"{name}-curve.svg", picture)
    return text, values


def curve_markdown(budgets: Budgets) -> str:
    """Figures and gains by the number of steps."""
    last = list(budgets.values())[-1]
    steps = [f"{count:,} steps" for count in budgets]
    lines = [f"# {last.title}, by budget", "", *(f"{note}  " for note in last.notes[:-1]), ""]
    lines += [f"| | model | {' | '.join(steps)} | ceiling |"]
    lines += ["| --- | --- |" + " ---: |" * (len(steps) + 1)]
    for column in last.columns:
        for model in last.figures:
            figures = [made.figures.get(model, {}).get(column) for made in budgets.values()]
            cells = ["–" if each is None else f"{each.mean:.3f}" for each in figures]
            above = last.ceilings.get(column)
            cells.append("–" if above is None else f"{above:.3f}")
            lines.append(f"| {table_cell(column)} | {table_cell(model)} | {' | '.join(cells)} |")
    lines += [
        "",
        f"| finding | on | {' | '.join(steps)} |",
        "| --- | --- |" + " --- |" * len(steps),
    ]
    verdicts = [
        {(each.claim, each.column): each for each in made.verdicts} for made in budgets.values()
    ]
    for claim, column in verdicts[-1]:
        cells = []
        for of in verdicts:
            each = of.get((claim, column))
            gain = "" if each is None else f"{each.gain:+.1%}" if isfinite(each.gain) else "from 0"
            cells.append("–" if each is None else f"{gain}: {each.verdict}")
        lines.append(f"| {table_cell(claim)} | {table_cell(column)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def curve_svg(budgets: Budgets, columns: Sequence[str]) -> bytes | None:
    """A plot of each of the columns (all if there are none), with ceilings; None without
    matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return None
    last = list(budgets.values())[-1]
    shown = [column for column in last.columns if column in columns or not columns]
    rows = -(-len(shown) // PER_ROW)
    figure = Figure(figsize=(3.4 * PER_ROW, 2.6 * rows))
    for place, column in enumerate(shown, 1):
        axes = figure.add_subplot(rows, PER_ROW, place)
        for number, model in enumerate(last.figures):
            found = [made.figures.get(model, {}).get(column) for made in budgets.values()]
            points = [(n, each.mean) for n, each in zip(budgets, found, strict=True) if each]
            axes.plot(*zip(*points, strict=True), "o-", color=COLOURS[number % 4], label=model)
        if column in last.ceilings:
            axes.axhline(last.ceilings[column], color="0.4", ls=":", label="ceiling")
        axes.set_xscale("log")
        axes.set_xticks(list(budgets), [f"{count:,}" for count in budgets], fontsize=7)
        axes.minorticks_off()
        axes.set_title(column, fontsize=8)
        if place == 1:
            axes.legend(fontsize=6, frameon=False)
    figure.tight_layout()
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()
