"""`omnisearch experiment replay`: what variants would have brought, from the log alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnisearch.cli.common import (
    DEFAULT_WORKSPACE,
    JsonOption,
    WorkspaceOption,
    emit_json,
    example,
    out,
    table,
)
from omnisearch.cli.experiment_tables import percent
from omnisearch.cli.progress import progress

if TYPE_CHECKING:
    from omnisearch.evaluation.experiments.ratio import Estimate
    from omnisearch.evaluation.experiments.replay import Replayed


def register(app: typer.Typer) -> None:
    app.command(epilog=example("omnisearch experiment replay deeper"))(replay)


def replay(
    name: Annotated[str, typer.Argument(help="The name of the experiment.")],
    days: Annotated[
        int | None,
        typer.Option(min=1, help="The last days of the log; by default those kept from learning."),
    ] = None,
    queries: Annotated[int, typer.Option(min=1, help="How many, the most frequent first.")] = 1000,
    first: Annotated[int, typer.Option(min=1, max=20, help="Results of a page that count.")] = 8,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Estimate what variants would have brought, from the log of other pages: nobody sees them."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.evaluation.experiments import store
    from omnisearch.evaluation.experiments.replay import replay as replayed

    space = Workspace.open(workspace)
    experiment = store.load(space, name).experiment
    with progress("replay") as done:
        found = replayed(space, experiment, days, queries, first, done)
    if json:
        return emit_json("experiment replay", found.to_json())
    out.print(
        f"{found.searches:,} searches of {found.days} days with {found.queries:,} queries, "
        f"{found.of_all:.0%} of all; the first {found.first} results.",
        highlight=False,
    )
    if found.learned:
        out.print("Variants may have learned from these days: they look better than they are.")
    if not found.places_known:
        out.print(
            f"Only {found.moved:.0%} of the choices are of items that were shown at several "
            "places: how much users look at each is a guess, and only `same place` is free of it."
        )
    items, fulfilled = found.logged
    out.print(
        f"What was shown brought {items:.3f} items with an action a search, and an action in "
        f"{percent(fulfilled)} of the searches.",
        highlight=False,
    )
    for each in found.variants:
        _show(each)


def _show(found: Replayed) -> None:
    rows: list[list[Any]] = []
    for method, value in found.values.items():
        apart = found.apart.get(method)
        rows.append([method, f"{value.value:.3f}", _ends(value), *_apart(apart)])
    head = ["by", "a search", "95% interval", "less control", "95% interval"]
    table(found.variant, head if found.apart else head[:3], rows)
    sure = found.trust
    out.print(
        f"Worth {sure.effective:,.0f} of {sure.searches:,} searches; never shown "
        f"{sure.never:.1%}, too rarely {sure.clipped:.1%}, heaviest weight {sure.heaviest:.1f}. "
        f"Whatever the rest would bring: {sure.low:.3f} to {sure.high:.3f} items a search.",
        highlight=False,
    )
    for sentence in found.why_not:
        out.print(sentence, highlight=False)


def _apart(apart: Estimate | None) -> list[str]:
    return [] if apart is None else [f"{apart.value:+.3f}", _ends(apart)]


def _ends(value: Estimate) -> str:
    return f"{value.low:.3f} to {value.high:.3f}"
