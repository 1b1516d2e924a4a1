"""`omnisearch status`: what a workspace contains, what is stale, and what comes next."""

from __future__ import annotations

from typing import Any

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
from omnisearch.data.workspace.counts import counted
from omnisearch.data.workspace.dates import day


def register(app: typer.Typer) -> None:
    app.command(epilog=example("omnisearch status"))(status)


def status(workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False) -> None:
    """Show what the workspace holds, the days of its log, what is stale, and the next command."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.pipeline.status import workspace_status

    found = workspace_status(Workspace.open(workspace))
    if json:
        return emit_json("status", found)
    rows: list[list[Any]] = [[part, state] for part, state in _rows(found) if state]
    table(f"Workspace {workspace}", ["part", "state"], rows, justify="left")
    for sentence in found["stale"]:
        out.print(sentence, markup=False, highlight=False, soft_wrap=True)
    if found["next"]:
        told = f"Next: run `{found['next']}`."
    elif found["stale"]:
        told = "Next: run `omnisearch refresh`, which makes anew what it can."
    else:
        told = "Everything is up to date. Search with `omnisearch search WORDS`."
    out.print(told, markup=False, highlight=False, soft_wrap=True)


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Part → what is there, in words; '' for a part to leave out."""
    counts, index, rankers = found["catalogue"], found["generation"], found["rankers"]
    refresh = found["last_refresh"]
    own = "" if found["checkpoints"] else "none of its own"
    if found["untrained"]:
        own += f"; the text encoder as it comes ({', '.join(found['untrained'])})"
    return [
        ("data", "synthetic, a sample world" if found["synthetic"] else ""),
        ("made from labels of", ", ".join(found["derived_from_labels"])),
        ("items", _counted(counts, "pins", "products") or "none yet"),
        ("boards", _counted(counts, "boards", "board_items")),
        ("log", _log(found)),
        *_windows(found),
        ("queries", f"{counts['queries']:,}" if counts["queries"] else ""),
        ("judgments", f"{counts['judgments']:,}" if counts["judgments"] else ""),
        ("vectors", _vectors(found["item_vectors"])),
        ("lacking", ", ".join(f"{name} {count:,}" for name, count in found["lacking"].items())),
        ("encoders", ", ".join(found["checkpoints"]) or own.lstrip("; ")),
        ("index", f"generation {int(index)}" if (index or "").isdigit() else index or "none yet"),
        ("rankers", "trained" if rankers else "the starter ranker, until rankers are trained"),
        ("last refresh", _refresh(refresh) if refresh else ""),
    ]


def _counted(counts: dict[str, int], *names: str) -> str:
    words = {"board_items": "saves to them"}
    there = (f"{counts[name]:,} {words.get(name, name)}" for name in names if counts[name])
    return ", ".join(there)


def _log(found: dict[str, Any]) -> str:
    log = found["log"]
    if log is None:
        return "none: searches are ordered without what people did"
    events = found["catalogue"]["engagements"]
    return f"{counted(events, 'event')}, {day(log['first'])} to {day(log['last'])}"


def _windows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What the days of the log are used for, and how far the items' features know it."""
    log, engaged = found["log"], found["engaged_until"]
    if log is None:
        return []
    until = f"events before {day(log['train_until'])}"
    if log["eval_until"] > log["eval_from"]:
        measured = f"{day(log['eval_from'])} to {day(log['eval_until'] - 1)}"
    else:
        measured, until = "no days: the log is shorter than 23 days", "all events"
    return [
        ("encoders learn", until),
        ("evaluation", measured),
        ("enriched with", f"events before {day(engaged)}" if engaged else ""),
    ]


def _vectors(vectors: dict[str, list[int]]) -> str:
    return ", ".join(f"{name}s {rows:,} × {dim}" for name, (rows, dim) in vectors.items())


def _refresh(found: dict[str, Any]) -> str:
    if found["failed"]:
        how = f"failed at {', '.join(found['failed'])}"
    elif found["ended"] is None:
        how = "not ended"
    else:
        how = f"did {', '.join(found['done'])}" if found["done"] else "nothing to do"
    return f"{found['began'].replace('T', ' ').replace('+00:00', ' UTC')}, {how}"
