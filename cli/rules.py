"""`omnisearch rules`: synonyms, pins, boosts, burials and hidden items."""

from __future__ import annotations

import time
from dataclasses import asdict
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
from omnisearch.data.workspace.counts import counted
from omnisearch.data.workspace.errors import InputError

if TYPE_CHECKING:
    from omnisearch.engine.rules.check import Checked
    from omnisearch.engine.rules.file import Fault
    from omnisearch.engine.rules.rule import Rule

app = typer.Typer(
    help="Synonyms, and pinned, boosted, buried or hidden items, from one file.",
    no_args_is_help=True,
)
FileArgument = Annotated[Path, typer.Argument(help="The file of rules, TOML.")]
_SHOWN = 50  # faults, or rules


@app.command(epilog=example("omnisearch rules check rules.toml"))
def check(
    file: FileArgument, workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False
) -> None:
    """Check a file of rules: every fault by line and field, and what the index does not have."""
    found = _checked(file, workspace, quiet=json)
    if json:
        return emit_json("rules check", _told(found))
    _show_missing(found)
    out.print(f"{counted(len(found.rules), 'rule')}, no fault.")


@app.command(epilog=example("omnisearch rules apply rules.toml"))
def apply(
    file: FileArgument, workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False
) -> None:
    """Make the rules of a file live, in place of all earlier ones; a service follows by itself."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.engine.rules.published import publish_rules

    found = _checked(file, workspace, quiet=json)
    number = publish_rules(Workspace.open(workspace, writing=True), found.content, found.rules)
    if json:
        return emit_json("rules apply", {"version": number, **_told(found)})
    _show_missing(found)
    are = "is" if len(found.rules) == 1 else "are"
    out.print(f"{counted(len(found.rules), 'rule')} {are} live, as version {number}.")


@app.command("list", epilog=example("omnisearch rules list"))
def list_(workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False) -> None:
    """Show the versions, and the rules that are live."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.engine.rules.check import missing_of
    from omnisearch.engine.rules.published import load_rules, versions

    space = Workspace.open(workspace)
    live = load_rules(space)
    rules = live.rules if live else ()
    missing = missing_of(rules, space) or []
    if json:
        shown = [{**rule.to_json(), "state": _state(rule)} for rule in rules]
        told = {"versions": versions(space), "rules": shown, "missing": list(map(asdict, missing))}
        return emit_json("rules list", told)
    rows = [
        [str(each["number"]), _day(each["created_at"]), each["rules"], "live" * each["live"]]
        for each in versions(space)
    ]
    if rows:
        table("Versions of the rules", ["version", "applied (UTC)", "rules", "state"], rows)
    lines = {fault.line: fault.what for fault in missing}
    lived = [
        [str(rule.line), rule.said, _when(rule), _does(rule), lines.get(rule.line) or _state(rule)]
        for rule in rules[:_SHOWN]
    ]
    if live is None:
        return out.print(
            "No rules are live. `omnisearch rules apply FILE` makes those of a file live."
        )
    table(f"Version {live.number}", ["line", "rule", "for", "does", "state"], lived)
    if len(rules) > _SHOWN:
        out.print(f"And {len(rules) - _SHOWN:,} more: `--json` has all.")


@app.command(epilog=example("omnisearch rules rollback", "omnisearch rules rollback --number 3"))
def rollback(
    number: Annotated[
        int | None, typer.Option(min=1, help="The version; by default the one before.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Make an earlier version of the rules live again."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.engine.rules.published import roll_back

    found = roll_back(Workspace.open(workspace, writing=True), number)
    if json:
        return emit_json("rules rollback", {"version": found})
    out.print(f"Version {found} of the rules is live.")


@app.command(epilog=example("omnisearch rules remove"))
def remove(workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False) -> None:
    """Let no rules act any more; `omnisearch rules rollback` brings the last ones back."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.engine.rules.published import remove_rules

    removed = remove_rules(Workspace.open(workspace, writing=True))
    if json:
        return emit_json("rules remove", {"removed": removed})
    out.print("No rules are live now." if removed else "No rules were live.")


def _checked(file: Path, workspace: Path, quiet: bool) -> Checked:
    """The rules of a file. If it has faults, they are printed, and the command ends."""
    from omnisearch.data.workspace import Workspace
    from omnisearch.engine.rules.check import check_rules

    found = check_rules(file, Workspace(workspace))
    if not found.faults:
        return found
    if quiet:
        emit_json("rules", _told(found))
        raise typer.Exit(InputError.exit_code)
    _show(found.faults)
    _show_missing(found)
    raise InputError(
        f"The file of rules has {counted(len(found.faults), 'fault')}; nothing was applied.",
        where=str(file),
        how="See docs/guide/rules.md.",
    )


def _show_missing(found: Checked) -> None:
    if found.missing is None:
        out.print("There is no index yet: what rules name was not looked for.")
    elif found.missing:
        out.print("These rules name what the index does not have; they do nothing about it:")
        _show(found.missing)


def _show(faults: list[Fault]) -> None:
    for fault in faults[:_SHOWN]:
        out.print(str(fault), markup=False, highlight=False)
    if len(faults) > _SHOWN:
        out.print(f"And {len(faults) - _SHOWN:,} more: `--json` has all.")


def _told(found: Checked) -> dict[str, Any]:
    missing = None if found.missing is None else list(map(asdict, found.missing))
    faults = list(map(asdict, found.faults))
    return {"rules": len(found.rules), "faults": faults, "missing": missing}


def _state(rule: Rule) -> str:
    now = time.time()
    if now < rule.start:
        return f"from {_day(rule.start)}"
    return "acts" if now < rule.end else f"ended {_day(rule.end)}"


def _when(rule: Rule) -> str:
    if rule.source:
        return ", ".join(rule.source) + (f" ({rule.language})" if rule.language else "")
    given = [(name, getattr(rule, name)) for name in ("query", "prefix", "words")]
    said = (f"{name} {', '.join(texts)}" for name, texts in given if texts)
    return next(said, "all queries")


def _does(rule: Rule) -> str:
    if rule.kind == "synonyms":
        return f"also finds {', '.join(rule.target)}"
    items = ", ".join(["/".join(pair) for pair in rule.item] or rule.filter)
    said = {"pin": f" at {rule.places}", "hide": ""}.get(rule.kind, f" by {rule.places}")
    return f"{rule.kind} {items}{said}"


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(seconds))
