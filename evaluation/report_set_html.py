"""The comparison of systems over a query set as one self-contained HTML page."""

from __future__ import annotations

from omnisearch.evaluation.compare_set import PairOfSystems, QueryRow, SetComparison
from omnisearch.evaluation.html_page import notes, page, text
from omnisearch.evaluation.significance import Difference
from omnisearch.evaluation.systems import best_means
from omnisearch.evaluation.wording import p_text, system_about, system_name

_SHOWN = 15  # queries in each of the tables of gains and losses


def set_page(comparison: SetComparison) -> str:
    """The page: metrics by system, the differences of each pair, the queries that differ most."""
    names = " · ".join(text(system_name(system)) for system in comparison.systems)
    body = f"""<main>
<p class="eyebrow">OmniSearch · over a query set</p>
<h1>{names}</h1>
{notes(comparison.notes)}
{_metrics(comparison)}
{"".join(_pair(pair, comparison) for pair in comparison.pairs)}
</main>
<footer>Intervals: 95%, bootstrap over queries. Tests: paired randomisation, two-sided; p-values
corrected over the pairs of systems (Holm).</footer>"""
    return page("Systems over a query set", body)


def _metrics(comparison: SetComparison) -> str:
    if not comparison.measured:
        return (
            '<section class="sheet"><h2>Metrics</h2><p>None of the '
            f"{comparison.queries:,} queries has judgments or held-out engagement, so only the "
            "overlap is known.</p></section>"
        )
    best = best_means(comparison.metrics)
    rows = []
    for system in comparison.systems:
        cells = "".join(
            f'<td class="{"best" if found.mean == best[name] else ""}">{found.mean:.3f}'
            f"<small>{found.low:.3f} to {found.high:.3f}</small></td>"
            for name, found in comparison.metrics[system].items()
        )
        label = f"{text(system_name(system))}<small>{text(system_about(system))}</small>"
        rows.append(f"<tr><td>{label}</td>{cells}</tr>")
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in best)
    return f"""<section class="sheet">
<h2>Metrics</h2>
<p>Mean over {comparison.measured:,} of {comparison.queries:,} queries, those with
{text(comparison.gains_from)}; relevant is a mean grade of at least
{comparison.level:.0%} of the highest.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Metrics"><table>
<thead><tr><th scope="col">System</th>{head}</tr></thead>
<tbody>{"".join(rows)}</tbody></table></div>
</section>"""


def _pair(pair: PairOfSystems, comparison: SetComparison) -> str:
    a, b = text(system_name(pair.a)), text(system_name(pair.b))
    told = f"The first {comparison.k} results overlap by {pair.overlap:.0%} on average."
    if not comparison.measured:
        return f'<section class="sheet"><h2>{b} against {a}</h2><p>{told}</p></section>'
    reach = max(max(abs(found.low), abs(found.high), 1e-9) for found in pair.differences.values())
    rows = "".join(
        _difference(name, found, pair.p_holm[name], reach)
        for name, found in pair.differences.items()
    )
    return f"""<section class="sheet">
<h2>{b} against {a}</h2>
<p>{told} A positive difference means that {b} is better.</p>
<div class="scroll" tabindex="0" role="region" aria-label="{b} against {a}"><table>
<thead><tr><th scope="col">Metric</th><th scope="col">Difference</th>
<th scope="col"><span aria-hidden="true">−{reach:.2f} … 0 … +{reach:.2f}</span></th>
<th scope="col">Wins / ties / losses</th><th scope="col">p</th></tr></thead>
<tbody>{rows}</tbody></table></div>
</section>
<div class="two">{_extremes(pair, comparison, gained=True)}
{_extremes(pair, comparison, gained=False)}</div>"""


def _difference(name: str, found: Difference, p_value: float, reach: float) -> str:
    kind = "up" if found.low > 0 else "down" if found.high < 0 else ""
    counts = (("w", found.wins), ("", found.ties), ("l", found.losses))
    bar = "".join(f'<i class="{kind}" style="flex:{n}"></i>' for kind, n in counts if n)
    return (
        f"<tr><td>{text(name)}</td>"
        f'<td class="{kind}">{found.mean:+.3f}<small>{found.low:+.3f} to {found.high:+.3f}</small>'
        f'</td><td class="{kind}">{_forest(found, reach)}</td>'
        f'<td><span class="wtl" aria-hidden="true">{bar}</span>'
        f"<small>{found.wins} / {found.ties} / {found.losses}</small></td>"
        f"<td>{p_text(p_value)}</td></tr>"
    )


def _forest(found: Difference, reach: float) -> str:
    """The mean and its interval on a line through zero."""
    low, middle, high = (100 + 94 * x / reach for x in (found.low, found.mean, found.high))
    return (
        '<svg class="forest" viewBox="0 0 200 20" preserveAspectRatio="none" aria-hidden="true">'
        '<path d="M100 0V20" stroke="currentColor" opacity=".45" stroke-dasharray="2 2"/>'
        f'<path d="M{low:.1f} 10H{high:.1f}" stroke="currentColor" '
        'stroke-width="2"/>'
        f'<rect x="{middle - 3:.1f}" y="5" width="6" height="10" rx="1.5" '
        'fill="currentColor"/></svg>'
    )


def _extremes(pair: PairOfSystems, comparison: SetComparison, gained: bool) -> str:
    """The queries on which nDCG@10 rose (or fell) most from a to b."""

    def change(row: QueryRow) -> float:
        return row.metrics[pair.b]["nDCG@10"] - row.metrics[pair.a]["nDCG@10"]

    sign = 1 if gained else -1
    rows = [row for row in comparison.rows if row.metrics and sign * change(row) > 1e-9]
    rows = sorted(rows, key=lambda row: (-sign * change(row), row.query))[:_SHOWN]
    heading = f"Where {text(system_name(pair.b))} {'wins' if gained else 'loses'} most: nDCG@10"
    if not rows:
        return f'<section class="sheet"><h2>{heading}</h2><p>On no query.</p></section>'
    kind = "up" if gained else "down"
    key = f"{pair.a} & {pair.b}"
    lines = "".join(
        f'<tr><td class="query"><bdi>{text(row.query)}</bdi></td>'
        f"<td>{row.metrics[pair.a]['nDCG@10']:.3f}</td>"
        f"<td>{row.metrics[pair.b]['nDCG@10']:.3f}</td>"
        f'<td class="{kind}">{change(row):+.3f}</td><td>{row.overlap[key]:.0%}</td></tr>'
        for row in rows
    )
    return f"""<section class="sheet"><h2>{heading}</h2>
<div class="scroll" tabindex="0" role="region" aria-label="{heading}"><table>
<thead><tr><th scope="col">Query</th><th scope="col">{text(system_name(pair.a))}</th>
<th scope="col">{text(system_name(pair.b))}</th><th scope="col">Change</th>
<th scope="col">Overlap</th></tr></thead><tbody>{lines}</tbody></table></div></section>"""
