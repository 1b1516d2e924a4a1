"""`omnisearch experiment`: try a change of the search on a part of the traffic."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from math import inf, isnan
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
from omnisearch.cli.progress import progress
from omnisearch.data.workspace.errors import InputError

if TYPE_CHECKING:
    from omnisearch.evaluation.experiments.interleaving import Preference
    from omnisearch.evaluation.experiments.ratio import Estimate
    from omnisearch.evaluation.experiments.report import Comparison, Report
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
    for sentence in _warnings(found):
        out.print(sentence, highlight=False)
    if found.preference is not None:
        return _show_preference(found.preference, kept.experiment.variants[1].name)
    if not found.comparisons:
        out.print(f"Each variant needs {FEW} users before they are compared.", highlight=False)
    for comparison in found.comparisons:
        _show(comparison)


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


def _warnings(found: Report) -> Iterator[str]:
    if not found.split_as_planned:
        yield (
            "The variants do not have their planned shares of the users "
            f"(p = {found.split:.2g}): users are lost or doubled in one of them, and the figures "
            "are not to be trusted."
        )
    if found.mixed:
        yield f"{found.mixed:,} users had several variants; their searches are left out."
    if found.unknown:
        yield f"{found.unknown:,} searches that events name are not in the log."


def _show(found: Comparison) -> None:
    rows: list[list[Any]] = []
    for line in found.lines:
        shown = _number if "latency" in line.measure else _percent
        relative = line.effect.relative
        rows.append(
            [
                *(line.measure, shown(line.effect.control.value)),
                *(shown(line.effect.treatment.value), _lift(relative.value)),
                *(_between(relative), _p(line.p_value)),
            ]
        )
    title = f"{found.variant} beside the control"
    table(title, ["measure", "control", found.variant, "change", "95% interval", "p"], rows)
    lift = found.deciding.relative
    sure = lift.low > 0 or lift.high < 0
    out.print(
        f"Fulfilment {_lift(lift.value)}, between {_lift(lift.low)} and {_lift(lift.high)} however "
        f"often one looks: {'this is no chance' if sure else 'this may be chance'}.",
        highlight=False,
    )
    out.print(
        f"So many users show a change of {found.detectable:.1%} in 80% of cases. What they did "
        f"before the start takes {max(0.0, found.removed):.0%} of the variance away.",
        highlight=False,
    )


def _show_preference(found: Preference, name: str) -> None:
    share = found.share
    if not found.searches or isnan(share.low):
        return out.print("Too few users have chosen a result that one variant alone had there.")
    sure = share.low > 0.5 or share.high < 0.5
    out.print(
        f"In {_percent(share.value)} of {found.searches:,} searches users chose rather what {name} "
        f"had (95% interval at one look: {_percent(share.low)} to {_percent(share.high)}; half is "
        f"no preference): {'this is no chance' if sure else 'this may be chance'}.",
        highlight=False,
    )
    out.print(
        f"{found.wins:,} users prefer {name}, {found.losses:,} the control, and {found.ties:,} "
        f"neither (sign test: p {_p(found.sign_p_value)}).",
        highlight=False,
    )


def _between(lift: Estimate) -> str:
    known = abs(lift.low) < inf and abs(lift.high) < inf
    return f"{_lift(lift.low)} to {_lift(lift.high)}" if known else ""


def _p(value: float) -> str:
    if isnan(value):
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{value:.2%}"


def _number(value: float) -> str:
    return f"{value:.1f}"


def _lift(value: float) -> str:
    return f"{value:+.1%}" if abs(value) < inf else "unknown"


def _told(kept: Kept) -> dict[str, Any]:
    history = [vars(step) for step in kept.history]
    return {**kept.experiment.to_json(), "state": kept.state, "history": history}


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
