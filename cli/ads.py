"""`omnisearch ads`: campaigns, the models of their ads, and what became of them."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnisearch import pipeline
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

if TYPE_CHECKING:
    from omnisearch.data.catalogue.campaigns import Campaign

app = typer.Typer(
    help="Ads of campaigns: what runs, how often they are clicked, and the models that order them.",
    no_args_is_help=True,
)
_DAY = 86_400
_SHOWN = 50  # campaigns


@app.command("list", epilog=example("omnisearch ads list"))
def list_(workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False) -> None:
    """Show the campaigns, their state, and the items that the catalogue does not have."""
    from omnisearch.data.catalogue.campaigns import load_campaigns
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.data.importers.campaigns import unknown_items
    from omnisearch.data.workspace import Workspace
    from omnisearch.engine.ads.models import load_models

    space = Workspace.open(workspace)
    campaigns, models = load_campaigns(space), load_models(space)
    db = open_catalogue(space.catalogue)
    unknown = {key: unknown_items(db, each) for key, each in campaigns.items()}
    db.conn.close()
    trained = {name: bool(models and getattr(models, name)) for name in ("engagement", "relevance")}
    if json:
        shown = [
            {**asdict(each), "state": state_of(each), "unknown": unknown[key]}
            for key, each in campaigns.items()
        ]
        return emit_json("ads list", {"campaigns": shown, "models": trained})
    if not campaigns:
        return out.print("There are no campaigns. `omnisearch import campaigns.jsonl` adds some.")
    rows = [
        [
            *(each.id, f"{each.bid:g}", len(each.items), len(unknown[key]) or "", state_of(each)),
            *(", ".join(each.countries) or "all", ", ".join(each.languages) or "all"),
        ]
        for key, each in list(campaigns.items())[:_SHOWN]
    ]
    headings = ["campaign", "bid", "items", "unknown", "state", "countries", "languages"]
    table("Campaigns (times in UTC)", headings, rows)
    if len(campaigns) > _SHOWN:
        out.print(f"And {len(campaigns) - _SHOWN:,} more: `--json` has all.")
    if not all(trained.values()):
        lacking = " and ".join(name for name, there in trained.items() if not there)
        out.print(f"There is no {lacking} model: `omnisearch ads train`.")


@app.command(epilog=example("omnisearch ads train"))
def train(workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False) -> None:
    """Learn from the log how often ads are clicked for long, and from judgments what is relevant.

    It shows what the models predict beside what happened, on queries that they have not seen.
    """
    with progress("queries of the log and the judgments") as advance:
        models = pipeline.train_ads(workspace, advance)
    if json:
        return emit_json("ads train", models.report)
    show_models(models.report)


def show_models(report: dict[str, Any]) -> None:
    """Print what the models learned from, and how well they are calibrated."""
    from omnisearch.data.catalogue.left_out import LeftOut

    happens = {"engagement": "long clicks", "relevance": "relevant"}
    for name, what in happens.items():
        found = report[name]
        out.print(
            f"{name.capitalize()}: {found['pairs']:,} pairs of {found['queries']:,} queries, "
            f"{found['successes']:,} {what}.",
            highlight=False,
        )
        if found["reliability"] is None:
            out.print(f"That is too little: there is no {name} model.")
            continue
        rows = [
            [number, each["trials"], f"{each['predicted']:.4f}", f"{each['observed']:.4f}"]
            for number, each in enumerate(found["reliability"]["deciles"], 1)
        ]
        title = f"Share of {what}, on queries that were not learned from"
        table(title, ["tenth", "pairs", "predicted", "observed"], rows)
        error = found["reliability"]["error"]
        out.print(f"Expected calibration error: {error:.4f}.", highlight=False)
    for each in report["left_out"]:
        out.print(str(LeftOut(**each)), markup=False, highlight=False)
    out.print("These models are live.")


@app.command(epilog=example("omnisearch ads report", "omnisearch ads report --days 7"))
def report(
    days: Annotated[int | None, typer.Option(min=1, help="The last so many days; all.")] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Show how often ads were shown, clicked and clicked for long (gCTR), by campaign."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.evaluation.ads.report import report_ads, total

    since = 0 if days is None else int(time.time()) - days * _DAY
    found = report_ads(Workspace.open(workspace), since)
    if json:
        told = [
            {**vars(each), "gctr": each.gctr, "gctr_95": each.interval()}
            for each in (*found, total(found))
        ]
        return emit_json("ads report", {"since": since, "campaigns": told})
    if not found:
        return out.print("No ad was shown in that time.")
    rows = []
    for each in (*found[:_SHOWN], total(found)):
        low, high = each.interval()
        rate = f"{each.gctr:.2%} ({low:.2%} to {high:.2%})"
        rows.append(
            [each.campaign, each.searches, each.shown, each.clicked, each.long_clicked, rate]
        )
    headings = ["campaign", "searches", "shown", "clicked", "long clicks", "gCTR (95%)"]
    table("Ads", headings, rows)
    if len(found) > _SHOWN:
        out.print(f"And {len(found) - _SHOWN:,} more campaigns: `--json` has all.")


@app.command(epilog=example("omnisearch ads simulate --searches 2000"))
def simulate(
    searches: Annotated[int, typer.Option(min=1, help="How many there are.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of the users.")] = 0,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Let a sample world's users search and meet ads; they act by what is true."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.evaluation.ads.simulate import simulate_ads

    with progress("searches") as done:
        found = simulate_ads(Workspace.open(workspace, writing=True), searches, seed, done)
    if json:
        return emit_json("ads simulate", vars(found))
    out.print(
        f"{found.searches:,} searches showed {found.ads:,} ads; {found.events:,} events. "
        "Next: `omnisearch ads report`.",
        highlight=False,
    )


def state_of(campaign: Campaign) -> str:
    """'runs', and until when; or since when not, or from when on."""
    from omnisearch.data.workspace.dates import moment

    now = time.time()
    if campaign.start is not None and now < campaign.start:
        return f"from {moment(campaign.start)}"
    if campaign.end is None:
        return "runs"
    return f"runs until {moment(campaign.end)}" if now < campaign.end else "ended"
