"""Renders comparisons in the terminal. Titles are inserted as text, never as markup."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from omnisearch.data.catalogue.splits import measured_days
from omnisearch.evaluation.compare import Column, Comparison, Shown
from omnisearch.evaluation.compare_set import PairOfSystems, SetComparison
from omnisearch.evaluation.evaluate import Evaluation
from omnisearch.evaluation.languages import ACROSS
from omnisearch.evaluation.recall import Recall
from omnisearch.evaluation.systems import Estimate, best_means
from omnisearch.evaluation.wording import p_text, plain, price_text, system_name

_ACROSS, _SPACES, _LANGUAGES = 4, 2, 3  # columns that 80 signs hold, of each table
_MARK = {True: ("✓", "bold green"), False: ("✗", "bold red"), None: ("·", "dim")}


def comparison_table(comparison: Comparison) -> RenderableType:
    """Columns side by side: ✓ or ✗ if judged, ● for each system that shows the result."""
    systems = [column.system for column in comparison.columns]
    grid = Table(title=Text(f"“{plain(comparison.query)}”", "bold"), title_justify="left")
    grid.add_column("", justify="right", style="dim")
    for column in comparison.columns:
        grid.add_column(_heading(column), ratio=1, overflow="fold")
    for place in range(max((len(column.hits) for column in comparison.columns), default=0)):
        cells = [
            _cell(column.hits[place], column.system, systems)
            if place < len(column.hits)
            else Text("")
            for column in comparison.columns
        ]
        grid.add_row(str(place + 1), *cells)
    return Group(grid, *_below(comparison))


def _heading(column: Column) -> Text:
    heading = Text(system_name(column.system), "bold")
    heading.append(f"  {column.took_ms:.1f} ms", "dim")
    if column.ndcg is not None:
        heading.append(f"\n✓ {column.relevant} ", "green")
        heading.append(f"✗ {column.irrelevant} ", "red")
        heading.append(f"· {column.unjudged}  nDCG@10 {column.ndcg:.3f}", "dim")
        heading.append(f", condensed {column.condensed_ndcg:.3f}", "dim")
    return heading


def _cell(hit: Shown, system: str, systems: list[str]) -> Text:
    mark, style = _MARK[hit.relevant]
    cell = Text.assemble((mark, style), " ")
    cell.append(plain(hit.title) or f"untitled {hit.entity}", style if hit.relevant else "")
    about = [
        "ad" if hit.is_ad else "",
        hit.entity,
        plain(hit.brand),
        price_text(hit.price, plain(hit.currency)),
    ]
    cell.append(f"\n  {', '.join(part for part in about if part)}", "dim")
    if hit.also:
        here = {system, *hit.also}
        dots = "".join("●" if name in here else "○" for name in systems)
        cell.append(f"  {dots} shared", "magenta")
    return cell


def _below(comparison: Comparison) -> list[Text]:
    lines = []
    legend = "✓ judged relevant  ✗ judged irrelevant  · not judged"
    if not comparison.judged:
        legend = "Nobody has judged results for this query."
    if len(comparison.columns) > 1:
        legend += "  ●○ which systems show it"
    lines.append(Text(legend, "dim"))
    shared = (f"{key.replace('&', 'and')} share {n}" for key, n in comparison.overlap.items())
    lines.append(Text("; ".join(shared), "dim"))
    if comparison.related:
        related = ", ".join(plain(query) for query in comparison.related)
        lines.append(Text.assemble(("Related: ", "bold"), related))
    lines.extend(Text(note, "yellow") for note in comparison.notes)
    return [line for line in lines if line]


def set_tables(comparison: SetComparison) -> RenderableType:
    """The metrics of each system, and the differences of each pair of systems with their tests."""
    lines: list[RenderableType] = []
    if comparison.measured:
        lines.append(
            metrics_table(
                comparison.metrics,
                f"{comparison.measured} of {comparison.queries} queries, "
                f"measured by {comparison.gains_from}",
            )
        )
    else:
        lines.append(Text("None of the queries has judgments or held-out engagement.", "yellow"))
    lines.extend(_pair_table(pair, comparison) for pair in comparison.pairs)
    lines.extend(Text(note, "yellow") for note in comparison.notes)
    return Group(*lines)


def metrics_table(
    metrics: dict[str, dict[str, Estimate]], title: str, ceiling: Mapping[str, float] | None = None
) -> RenderableType:
    """Systems as rows, metrics with their 95% intervals as columns; last what is possible.

    Where there are more metrics than fit into 80 columns, the others are in a table below.
    """
    best = list(best_means(metrics).items())
    parts = [dict(best[at : at + _ACROSS]) for at in range(0, len(best), _ACROSS)]
    grids = [_metrics_table(metrics, part, ceiling) for part in parts]
    return Group(Text(title, "bold"), *grids)


def _metrics_table(
    metrics: dict[str, dict[str, Estimate]],
    best: Mapping[str, float],
    ceiling: Mapping[str, float] | None,
) -> Table:
    grid = Table()
    grid.add_column("system")
    for name in best:
        grid.add_column(name, justify="right", overflow="fold")
    for system, columns in metrics.items():
        cells = [
            Text.assemble(
                (f"{found.mean:.3f}", "bold" if found.mean == best[name] else ""),
                (f" {found.low:.3f}–{found.high:.3f}", "dim"),
            )
            for name, found in columns.items()
            if name in best
        ]
        grid.add_row(Text(system), *cells)
    if ceiling:
        cells = [Text(f"{ceiling[name]:.3f}", "dim") for name in best]
        grid.add_row(Text("best possible", "dim"), *cells)
    return grid


def _pair_table(pair: PairOfSystems, comparison: SetComparison) -> RenderableType:
    title = (
        f"{system_name(pair.b)} against {system_name(pair.a)}: the first {comparison.k} overlap "
        f"by {pair.overlap:.0%}"
    )
    if not comparison.measured:
        return Text(title)
    grid = Table(title=Text(title, "bold"), title_justify="left")
    for number, name in enumerate(("metric", "difference", "95%", "wins", "ties", "losses", "p")):
        grid.add_column(name, justify="left" if number == 0 else "right")
    for name, found in pair.differences.items():
        style = "green" if found.low > 0 else "red" if found.high < 0 else ""
        counts = (str(found.wins), str(found.ties), str(found.losses))
        interval = f"{found.low:+.3f} to {found.high:+.3f}"
        p_value = p_text(pair.p_holm[name])
        grid.add_row(name, Text(f"{found.mean:+.3f}", style), interval, *counts, p_value)
    return grid


def evaluation_tables(evaluation: Evaluation) -> RenderableType:
    """Recall of the spaces, then each set's metrics with tests against the last system."""
    lines: list[RenderableType] = [Text(_measured(evaluation), "dim")]
    if evaluation.recall:
        lines += _recall_tables(evaluation.recall)
    lines += _language_tables(evaluation.languages)
    for table in evaluation.tables:
        title = f"{table.name}: {table.queries:,} of {table.available:,} queries"
        lines.append(metrics_table(table.metrics, title, table.ceiling))
        last = next(reversed(table.metrics))
        for metric, differences in table.against.items():
            told = (
                f"{other} {found.mean:+.3f} ({found.low:+.3f} to {found.high:+.3f}, "
                f"p {p_text(table.p_holm[metric][other])})"
                for other, found in differences.items()
            )
            lines.append(Text(f"{metric} of {last} minus that of " + ", ".join(told), "dim"))
    lines.extend(Text(note, "yellow") for note in evaluation.notes)
    lines.extend(Text(str(each), "dim") for each in evaluation.left_out)
    return Group(*lines)


def _measured(evaluation: Evaluation) -> str:
    """What was measured: the generation, and the days of the log."""
    days = measured_days(evaluation.eval_from, evaluation.eval_until)
    if days is None:
        return f"Generation {evaluation.generation}; the log is too short to keep days back."
    return f"Generation {evaluation.generation}; days that are kept back to measure by: {days}."


def _recall_tables(rows: list[Recall]) -> list[RenderableType]:
    """Kinds of pairs as rows, spaces as columns; only the figures over all languages."""
    whole = [row for row in rows if not row.group]
    spaces = list(dict.fromkeys(row.space for row in whole))
    title = f"Recall@10 among {max(row.corpus for row in whole):,} entities at most"
    parts = [spaces[at : at + _SPACES] for at in range(0, len(spaces), _SPACES)]
    return [Text(title, "bold"), *(_recall_table(whole, part) for part in parts)]


def _recall_table(whole: list[Recall], spaces: list[str]) -> Table:
    grid = Table()
    for name in ("pairs of", "pairs", *spaces):
        grid.add_column(name, justify="left" if name == "pairs of" else "right")
    for kind in dict.fromkeys(row.pairs_of for row in whole):
        found = {row.space: row for row in whole if row.pairs_of == kind}
        best = max(row.recall for row in found.values())
        cells = [
            Text.assemble(
                (f"{row.recall:.3f}", "bold" if row.recall == best else ""),
                (f" {row.low:.3f}–{row.high:.3f}", "dim"),
            )
            if (row := found.get(space))
            else Text("–")
            for space in spaces
        ]
        grid.add_row(kind, f"{next(iter(found.values())).pairs:,}", *cells)
    return grid


def _language_tables(rows: list[Recall]) -> list[RenderableType]:
    """For each entity, learned space and BM25: query languages down, item languages across."""
    tables: list[RenderableType] = []
    cells = {}
    for row in rows:
        entity, _, languages = row.pairs_of.partition("/")
        if row.space in ("learned", "bm25"):
            cells[entity, row.space, *languages.split(ACROSS)] = row
    for entity, space in dict.fromkeys(key[:2] for key in cells):
        asked = sorted({key[2] for key in cells if key[:2] == (entity, space)})
        answered = sorted({key[3] for key in cells if key[:2] == (entity, space)})
        title = f"Recall@10 by language, {entity}s, {space}: the query's down, the item's across"
        tables.append(Text(title, "bold"))
        for at in range(0, len(answered), _LANGUAGES):
            across = answered[at : at + _LANGUAGES]
            grid = Table()
            for name in ("", *across):
                grid.add_column(Text(name), justify="right" if name else "left")
            for one in asked:
                found = [cells.get((entity, space, one, other)) for other in across]
                grid.add_row(Text(one), *map(_share, found))
            tables.append(grid)
    return tables


def _share(row: Recall | None) -> Text:
    if row is None:
        return Text("–")
    return Text.assemble(f"{row.recall:.3f}", (f" {row.low:.3f}–{row.high:.3f}", "dim"))
