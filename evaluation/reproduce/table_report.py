"""A reproduced table: figures with their spread beside the paper's, and a verdict on each
finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

import numpy as np

from omnisearch.evaluation.reproduce.pairs import Column
from omnisearch.evaluation.reproduce.runs import Hits
from omnisearch.evaluation.reproduce.spec import Finding, Table
from omnisearch.evaluation.significance import bootstrap_interval

CONFIRMED, CONTRADICTED, OPEN = "confirmed", "contradicted", "not decided"


@dataclass(frozen=True)
class Figure:
    """Recall@10 of one model on one column.

    Attributes:
        seeds: one per seed; mean: their mean; low, high: 95% bootstrap interval over queries.
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
        gain: relative gain of the model over the other. low, high: 95% bootstrap interval over
            queries of the mean of (model - (1 + margin) * other).
        verdict: 'confirmed' if the interval is above 0 and every seed agrees, 'contradicted'
            if it is below 0 and every seed agrees, otherwise 'not decided'.
        paper: the relative gain in the paper.
    """

    claim: str
    column: str
    gain: float
    low: float
    high: float
    verdict: str
    paper: float | None


@dataclass(frozen=True)
class Reproduction:
    """A whole table. `figures` is model → column → figure; `about` describes how it was made."""

    name: str
    title: str
    columns: dict[str, dict[str, int]]
    figures: dict[str, dict[str, Figure]]
    verdicts: list[Verdict]
    notes: list[str]
    about: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers."""
        return asdict(self)


def reproduction(
    name: str,
    table: Table,
    columns: Mapping[str, Column],
    hits: Mapping[str, Sequence[Hits]],
    notes: list[str],
) -> Reproduction:
    """Assemble a table from the hits of every model and seed: model → one `Hits` per seed."""
    measured = {column: columns[column] for column in table.columns if column in columns}
    found: dict[str, dict[str, np.ndarray]] = {}  # model → column → (seeds, pairs)
    for model in table.models:
        for column in measured:
            key = f"{model.space}:{column}"
            if hits[model.name] and all(key in of_seed for of_seed in hits[model.name]):
                stacked = np.stack([of_seed[key] for of_seed in hits[model.name]])
                found.setdefault(model.name, {})[column] = stacked
    by_query = {column: _Queries.of(measured[column]) for column in measured}
    figures = {
        model: {
            column: _figure(values, by_query[column], table.paper.get(column, {}).get(model))
            for column, values in of_model.items()
        }
        for model, of_model in found.items()
    }
    verdicts = [
        _verdict(finding, column, found, by_query[column], table)
        for finding in table.findings
        for column in finding.columns or tuple(measured)
        if column in found.get(finding.model, {}) and column in found.get(finding.than, {})
    ]
    sizes = {
        column: {"pairs": len(of.pairs), "queries": by_query[column].count}
        for column, of in measured.items()
    }
    return Reproduction(name, table.title, sizes, figures, verdicts, notes)


@dataclass(frozen=True)
class _Queries:
    """Pairs grouped by query: (pairs,) query numbers, (queries,) number of pairs of each."""

    of_pair: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, column: Column) -> _Queries:
        names, of_pair = np.unique([query for query, _ in column.pairs], return_inverse=True)
        return cls(of_pair, np.bincount(of_pair, minlength=len(names)))

    @property
    def count(self) -> int:
        return len(self.sizes)

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """The interval of the mean of (pairs,) values, by resampling their queries."""
        return bootstrap_interval(np.bincount(self.of_pair, values), weights=self.sizes)


def _figure(hits: np.ndarray, queries: _Queries, paper: float | None) -> Figure:
    low, high = queries.interval(hits.mean(axis=0))
    return Figure(float(hits.mean()), low, high, hits.mean(axis=1).tolist(), paper)


def _verdict(
    finding: Finding,
    column: str,
    found: Mapping[str, Mapping[str, np.ndarray]],
    queries: _Queries,
    table: Table,
) -> Verdict:
    model, than = found[finding.model][column], found[finding.than][column]
    excess = model - (1 + finding.margin) * than  # (seeds, pairs)
    low, high = queries.interval(excess.mean(axis=0))
    seeds = excess.mean(axis=1)
    verdict = OPEN
    if low > 0 and (seeds > 0).all():
        verdict = CONFIRMED
    elif high < 0 and (seeds < 0).all():
        verdict = CONTRADICTED
    paper = table.paper.get(column, {})
    gain = model.mean() / than.mean() - 1 if than.any() else float("inf")
    theirs = None
    if finding.model in paper and finding.than in paper:
        theirs = paper[finding.model] / paper[finding.than] - 1
    return Verdict(finding.claim, column, float(gain), low, high, verdict, theirs)


def markdown(made: Reproduction) -> str:
    """The table as Markdown."""
    lines = [f"# {made.title}", "", *(f"{note}  " for note in made.notes), ""]
    models = list(made.figures)
    lines += _row(["Recall@10 of", "pairs", *models])
    lines += _row(["---", "---:"] + ["---:"] * len(models))
    for column, size in made.columns.items():
        cells = [_cell(made.figures[model].get(column)) for model in models]
        lines += _row([column, f"{size['pairs']:,}", *cells])
    lines += [
        "",
        "Mean over the seeds ± their standard deviation; in brackets the 95% interval over "
        "queries, then the paper's figure.",
        "",
    ]
    if made.verdicts:
        lines += _row(["finding", "on", "gain", "paper's", "95% interval", "verdict"])
        lines += _row(["---", "---", "---:", "---:", "---:", "---"])
        for verdict in made.verdicts:
            theirs = "" if verdict.paper is None else f"{verdict.paper:+.0%}"
            interval = f"{verdict.low:+.3f} to {verdict.high:+.3f}"
            gain = f"{verdict.gain:+.1%}" if isfinite(verdict.gain) else "from 0"
            about = [verdict.claim, verdict.column, gain, theirs, interval, verdict.verdict]
            lines += _row(about)
        lines += [
            "",
            "The interval is that of the difference in Recall@10, less what the finding allows. "
            "A finding is confirmed where the interval is above 0 and every seed agrees.",
        ]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> list[str]:
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"]


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    spread = np.std(figure.seeds, ddof=1) if len(figure.seeds) > 1 else 0.0
    text = f"{figure.mean:.3f} ± {spread:.3f} ({figure.low:.3f}–{figure.high:.3f})"
    return text if figure.paper is None else f"{text}; {figure.paper:.2f}"
