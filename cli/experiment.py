"""`omnisearch experiment`: try a change of the search on a part of the traffic."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
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
from omnisearch.cli.experiment_tables import (
    show,
    show_preference,
    show_relevance,
    show_segments,
    warnings,
)
from omnisearch.cli.progress import progress
from omnisearch.data.workspace.errors import InputError

if TYPE_CHECKING:
    from omnisearch.evaluation.experiments.store import Kept

app = typer.Typer(
    help="Experiments on traffic: variants of the search, by user, and what came of them.",
    no_args_is_help=True,
)
NameArgument = Annotated[str, typer.Argument(help="The name of the experiment.")]


@app.command(epilog=example("omnisearch experiment create deeper.toml"))
def create(
    file: Annotated[Path, typer.Argument(help="Its variants, TOML.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Check an experiment's file and keep it. Searches that name a user are logged from now on."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.evaluation.experiments import store
    from omnisearch.evaluation.experiments.check import check
    from omnisearch.evaluation.experiments.definition import read_experiment

    if not file.is_file():
        raise InputError("There is no such file.", where=str(file))
    found = read_experiment(file.read_bytes(), str(file))
    space = Workspace.open(workspace, writing=True)
    try:
        check(space, found)
    except InputError as error:
        raise InputError(error.what, where=f"{file}, {error.where}", how=error.how) from error
    kept = store.create(space, found)
    if json:
        return emit_json("experiment create", _told(kept))
    out.print(
        f"Experiment {found.name} is kept, with {len(found.variants)} variants; searches are "
        "logged, and nobody's results have changed."
    )
    out.print(f"Next: `omnisearch experiment start {found.name}`.", highlight=False)


@app.command(
    epilog=example(
        "omnisearch experiment start deeper --traffic 10", "omnisearch experiment start deeper"
    )
)
def start(
    name: NameArgument,
    traffic: Annotated[
        float, typer.Option(help="Percent of the users who take part; later it can be raised.")
    ] = 100.0,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Give users their variants, or let more of them take part; a service follows by itself."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.evaluation.experiments import store
    from omnisearch.evaluation.experiments.check import check

    space = Workspace.open(workspace, writing=True)
    check(space, store.load(space, name).experiment)
    kept = store.start(space, name, traffic)
    if json:
        return emit_json("experiment start", _told(kept))
    names = ", ".join(variant.name for variant in kept.experiment.variants)
    out.print(f"{traffic:g}% of the users take part in {name}: {names}.", highlight=False)


@app.command(epilog=example("omnisearch experiment stop deeper"))
def stop(
    name: NameArgument, workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False
) -> None:
    """End an experiment: everybody gets what is live, within a second."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.evaluation.experiments import store

    kept = store.stop(Workspace.open(workspace, writing=True), name)
    if json:
        return emit_json("experiment stop", _told(kept))
    out.print(f"Experiment {name} has ended; everybody gets what is live.", highlight=False)


@app.command(epilog=example("omnisearch experiment report deeper"))
def report(
    name: NameArgument, workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False
) -> None:
    """Compare each variant with the control, by what its users did; one may look at any time."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.evaluation.experiments import store
    from omnisearch.evaluation.experiments.report import FEW
    from omnisearch.evaluation.experiments.report import report as report_of

    space = Workspace.open(workspace)
    kept = store.load(space, name)
    found = report_of(space, kept)
    if json:
        return emit_json("experiment report", found.to_json())
    days = f"{found.days} day{'s' * (found.days != 1)}"
    out.print(f"Experiment {name}, {found.state}, {days}.", highlight=False)
    counts = [[each, found.users[each], found.searches[each]] for each in found.users]
    table("Users and their searches", ["variant", "users", "searches"], counts)
    for sentence in warnings(found):
        out.print(sentence, highlight=False)
    if found.preference is not None:
        return show_preference(found.preference, kept.experiment.variants[1].name)
    if not found.comparisons:
        out.print(f"Each variant needs {FEW} users before they are compared.", highlight=False)
    for comparison in found.comparisons:
        show(comparison)
    show_relevance(found.name, found.relevance)
    show_segments(found.segments, found.left_out)


@app.command(epilog=example("omnisearch experiment simulate deeper --users 5000"))
def simulate(
    name: NameArgument,
    users: Annotated[int, typer.Option(min=1, help="How many there are.")] = 4000,
    days: Annotated[int, typer.Option(min=1, help="Of the experiment.")] = 14,
    before: Annotated[int, typer.Option(min=0, help="Days of searches before it.")] = 14,
    seed: Annotated[int, typer.Option(help="Of the users.")] = 0,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Let a sample world's users search, each by their variant; they act by what is true."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.evaluation.experiments.simulate import simulate as simulated

    space = Workspace.open(workspace, writing=True)
    with progress(f"experiment {name}") as done:
        found = simulated(space, name, users, days, before, seed, done)
    if json:
        return emit_json("experiment simulate", vars(found))
    out.print(
        f"{found.users:,} users made {found.searches:,} searches and {found.events:,} actions. "
        f"Next: `omnisearch experiment report {name}`.",
        highlight=False,
    )


@app.command("list", epilog=example("omnisearch experiment list"))
def list_(workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False) -> None:
    """Show the experiments, their state and their variants."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.evaluation.experiments import store

    found = store.every(Workspace.open(workspace))
    if json:
        return emit_json("experiment list", {"experiments": [_told(kept) for kept in found]})
    if not found:
        return out.print("There are no experiments.")
    rows: list[list[Any]] = [
        [
            kept.experiment.name,
            kept.state,
            f"{kept.traffic:g}%" if kept.state == "running" else "",
            _day(kept.history[-1].time),
            ", ".join(variant.name for variant in kept.experiment.variants),
        ]
        for kept in found
    ]
    table("Experiments", ["name", "state", "users", "since (UTC)", "variants"], rows)


def _told(kept: Kept) -> dict[str, Any]:
    history = [vars(step) for step in kept.history]
    return {**kept.experiment.to_json(), "state": kept.state, "history": history}


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
