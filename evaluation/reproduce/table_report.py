"""A reproduced table: figures with their spread beside the paper's, and a verdict on each
finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

import numpy as np

from omnisearch.evaluation.experiments.several import corrected
from omnisearch.evaluation.reproduce.runs import Hits
from omnisearch.evaluation.reproduce.sample import Sample, Values
from omnisearch.evaluation.reproduce.spec import Table
from omnisearch.evaluation.reproduce.worlds import AnyColumn
from omnisearch.evaluation.wording import table_cell

CONFIRMED, CONTRADICTED, OPEN = "confirmed", "contradicted", "not decided"
CEILING = (
    "The ceiling is what the world's truth reaches: engaged items ranked by the probability that "
    "a user who sees them engages, judged ones by their true relevance. What is left is chance. "
    "Columns named ndcg have nDCG@10 by the true grades of all items."
)
VERDICTS = (
    "The interval is that of the difference, less what the finding allows. p is corrected for the "
    "number of comparisons. A finding is confirmed where p is below 0.05 and every world and seed "
    "agrees. Verdicts in brackets are of columns that were not named beforehand to decide."
)


@dataclass(frozen=True)
class Figure:
    """Recall@10 of one model on one column; of an 'ndcg' column nDCG@10.

    Attributes:
        seeds: one per world and seed; mean: their mean; low, high: its 95% interval (`Sample`).
        paper: the paper's figure, None if it has none.
    """

    mean: float
    low: float
    high: float
    seeds: list[float]
    paper: float | None


@dataclass(frozen=True)
class Verdict:
    """The verdict on a finding in one column.

    Attributes:
        gain: relative gain of the model over the other. low, high: 95% interval of the mean of
            (model - (1 + margin) * other), as of `Figure`.
        p: two-sided p-value of that mean, corrected for the number of comparisons of the table:
            of the columns that decide by Holm, of the others by Benjamini and Hochberg.
        decides: whether the column is one of those that decide.
        verdict: 'confirmed' if p is below 0.05, and the mean above 0 in every world and seed,
            'contradicted' if it is below 0 there, otherwise 'not decided'.
        paper: the relative gain in the paper.
    """

    claim: str
    column: str
    gain: float
    low: float
    high: float
    p: float
    decides: bool
    verdict: str
    paper: float | None


@dataclass(frozen=True)
class Reproduction:
    """A whole table. `figures` is model → column → figure, `ceilings` column → what the truth of
    a sample world reaches; `about` describes how it was made."""

    name: str
    title: str
    columns: dict[str, dict[str, int]]
    figures: dict[str, dict[str, Figure]]
    verdicts: list[Verdict]
    notes: list[str]
    ceilings: dict[str, float] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers."""
        return asdict(self)


@dataclass(frozen=True)
class Measured:
    """What was measured on one world: model → one `Hits` per seed, and column → ceilings."""

    columns: Mapping[str, AnyColumn]
    hits: Mapping[str, Sequence[Hits]]
    ceilings: Hits = field(default_factory=dict)


def reproduction(
    name: str, table: Table, worlds: Sequence[Measured], notes: list[str]
) -> Reproduction:
    """Assemble a table from what was measured on each world, one or more."""
    measured = [c for c in table.columns if all(c in world.columns for world in worlds)]
    samples = {
        column: Sample([world.columns[column].queries for world in worlds]) for column in measured
    }
    found: dict[str, dict[str, Values]] = {}
    for model in table.models:
        for column in measured:
            key = f"{model.space}:{column}"
            seeds = [world.hits[model.name] for world in worlds]
            if all(of and all(key in hits for hits in of) for of in seeds):
                stacked = [np.stack([hits[key] for hits in of]) for of in seeds]
                found.setdefault(model.name, {})[column] = stacked
    figures = {
        model: {
            column: _figure(values, samples[column], table.paper.get(column, {}).get(model))
            for column, values in of_model.items()
        }
        for model, of_model in found.items()
    }
    above = {
        column: float(np.mean([world.ceilings[column].mean() for world in worlds]))
        for column in measured
        if all(column in world.ceilings for world in worlds)
    }
    sizes = {
        column: {"pairs": sum(map(len, of.queries)), "queries": of.count}
        for column, of in samples.items()
    }
    verdicts = _verdicts(table, found, samples)
    return Reproduction(name, table.title, sizes, figures, verdicts, notes, above)


def _figure(values: Values, sample: Sample, paper: float | None) -> Figure:
    low, high = sample.interval([world.mean(axis=0) for world in values])
    seeds = [float(mean) for world in values for mean in world.mean(axis=1)]
    mean = float(np.mean([world.mean() for world in values]))
    return Figure(mean, low, high, seeds, paper)


def _verdicts(
    table: Table, found: Mapping[str, Mapping[str, Values]], samples: Mapping[str, Sample]
) -> list[Verdict]:
    tests = [
        (finding, column)
        for finding in table.findings
        for column in finding.columns or tuple(samples)
        if column in found.get(finding.model, {}) and column in found.get(finding.than, {})
    ]
    excess: list[Values] = []
    p_values: dict[str, float] = {}
    for finding, column in tests:
        pairs = zip(found[finding.model][column], found[finding.than][column], strict=True)
        excess.append([model - (1 + finding.margin) * than for model, than in pairs])
        p_values[str(len(p_values))] = samples[column].p_value(
            [each.mean(0) for each in excess[-1]]
        )
    deciding = {
        name
        for name, (_, column) in zip(p_values, tests, strict=True)
        if column in table.decides or not table.decides
    }
    adjusted = corrected(p_values, deciding)
    verdicts = []
    for (name, p), (finding, column), more in zip(adjusted.items(), tests, excess, strict=True):
        low, high = samples[column].interval([each.mean(0) for each in more])
        means = np.concatenate([each.mean(axis=1) for each in more])
        model, than = (
            float(np.mean([each.mean() for each in found[of][column]]))
            for of in (finding.model, finding.than)
        )
        paper, theirs = table.paper.get(column, {}), None
        if finding.model in paper and finding.than in paper:
            theirs = paper[finding.model] / paper[finding.than] - 1
        gain = model / than - 1 if than else float("inf")
        known = (p, name in deciding, verdict_of(p, means), theirs)
        verdicts.append(Verdict(finding.claim, column, gain, low, high, *known))
    return verdicts


def verdict_of(p: float, means: np.ndarray) -> str:
    """The verdict on something that should be above 0, by its p and its mean with each seed."""
    if p < 0.05 and (means > 0).all():
        return CONFIRMED
    return CONTRADICTED if p < 0.05 and (means < 0).all() else OPEN


def markdown(made: Reproduction) -> str:
    """The table as Markdown."""
    lines = [f"# {made.title}", "", *(f"{note}  " for note in made.notes), ""]
    models, above = list(made.figures), ["ceiling"] if made.ceilings else []
    lines += _row(["Recall@10 of", "pairs", *models, *above])
    lines += _row(["---", "---:"] + ["---:"] * (len(models) + len(above)))
    for column, size in made.columns.items():
        cells = [_cell(made.figures[model].get(column)) for model in models]
        if above:
            known = made.ceilings.get(column)
            cells.append("–" if known is None else f"{known:.3f}")
        lines += _row([column, f"{size['pairs']:,}", *cells])
    over = "over worlds" if made.about.get("worlds", 1) > 1 else "over queries"
    lines += [
        "",
        f"Mean over the seeds ± their standard deviation; in brackets the 95% interval {over}, "
        "then the paper's figure.",
    ]
    if above:
        lines.append(CEILING)
    lines.append("")
    if made.verdicts:
        lines += _row(["finding", "on", "gain", "paper's", "95% interval", "p", "verdict"])
        lines += _row(["---", "---", "---:", "---:", "---:", "---:", "---"])
        lines += [line for verdict in made.verdicts for line in _row(_judged(verdict))]
        lines += ["", VERDICTS]
    return "\n".join(lines) + "\n"


def _judged(verdict: Verdict) -> list[str]:
    theirs = "" if verdict.paper is None else f"{verdict.paper:+.0%}"
    interval = f"{verdict.low:+.3f} to {verdict.high:+.3f}"
    gain = f"{verdict.gain:+.1%}" if isfinite(verdict.gain) else "from 0"
    told = judgment(verdict.p, verdict.verdict, verdict.decides)
    return [verdict.claim, verdict.column, gain, theirs, interval, *told]


def judgment(p: float, verdict: str, decides: bool) -> tuple[str, str]:
    """The p and the verdict as tables show them: in brackets if it does not decide."""
    shown = "<0.001" if p < 0.001 else f"{p:.3f}"
    return shown, f"**{verdict}**" if decides else f"({verdict})"


def _row(cells: Sequence[str]) -> list[str]:
    return ["| " + " | ".join(map(table_cell, cells)) + " |"]


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    spread = f" ± {np.std(figure.seeds, ddof=1):.3f}" if len(figure.seeds) > 1 else ""
    text = f"{figure.mean:.3f}{spread} ({figure.low:.3f}–{figure.high:.3f})"
    return text if figure.paper is None else f"{text}; {figure.paper:.2f}"
