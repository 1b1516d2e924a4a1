"""`omnisearch judge`: people judge the results of two systems blind, or machine captions."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omnisearch.cli.common import (
    DEFAULT_WORKSPACE,
    JsonOption,
    WorkspaceOption,
    emit_json,
    example,
    out,
)
from omnisearch.cli.judge_draw import NameArgument, register
from omnisearch.data.workspace.counts import counted

if TYPE_CHECKING:
    from omnisearch.data.workspace import Workspace
    from omnisearch.evaluation.judging.folder import Judging
    from omnisearch.evaluation.judging.sheets import SheetReport

app = typer.Typer(
    help="Have people grade results (§5.1): draw results of two systems, mix them blind, collect "
    "three judgments per pair, report. Or have them rate machine captions (§3.2.1).",
    no_args_is_help=True,
)
JudgeOption = Annotated[str, typer.Option("--judge", help="Who judges.", show_default=False)]
_SHOWN = 20  # refused rows that are printed
register(app)


@app.command(epilog=example("omnisearch judge ask spring --judge anna"))
def ask(
    name: NameArgument, judge: JudgeOption, workspace: WorkspaceOption = DEFAULT_WORKSPACE
) -> None:
    """Judge in the terminal, one key per grade. Quit at any time; no answer is lost."""
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.evaluation.judging.session import ask as ask_about
    from omnisearch.evaluation.pictures import picture_folders

    space, judging = _opened(workspace, name)
    folders = picture_folders(open_catalogue(space.catalogue))
    left = ask_about(judging, judge, folders, _read_key, out.print)
    if left:
        out.print(
            f"\n{counted(left, 'pair')} {'is' if left == 1 else 'are'} left for {judge}. Run this "
            "again to continue.",
            markup=False,
        )
    else:
        out.print(f"\nNothing is left to judge for {judge}. Thank you.", markup=False)


@app.command(epilog=example("omnisearch judge export spring --judge anna -o anna.csv"))
def export(
    name: NameArgument,
    judge: JudgeOption,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Write the sheet here.", show_default=False)
    ],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Write the pairs that a judge has not judged yet as CSV, with a column to fill in."""
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.evaluation.judging.sheets import export_sheet
    from omnisearch.evaluation.pictures import picture_folders

    space, judging = _opened(workspace, name, writing=False)
    folders = picture_folders(open_catalogue(space.catalogue))
    pairs = export_sheet(judging, judge, output, folders)
    if json:
        return emit_json("judge export", {"file": output, "pairs": pairs})
    if pairs:
        out.print(f"{counted(pairs, 'pair')} for {judge} in {output}.", markup=False)
    else:
        out.print(f"Nothing is left to judge for {judge}: {output} has no rows.", markup=False)


@app.command("import", epilog=example("omnisearch judge import spring anna.csv"))
def import_(
    name: NameArgument,
    file: Annotated[Path, typer.Argument(help="A filled-in sheet.", show_default=False)],
    judge: Annotated[str | None, typer.Option(help="The judge, if the sheet does not say.")] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Replace the judge's earlier grades."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Import the grades of a sheet. Bad rows are refused; the others are imported."""
    from omnisearch.evaluation.judging.sheets import import_sheet

    report = import_sheet(_opened(workspace, name)[1], file, judge, replace)
    if json:
        return emit_json("judge import", asdict(report))
    _show_sheet(report)


def _show_sheet(report: SheetReport) -> None:
    out.print(
        f"{report.judge}, {counted(report.rows, 'row')}: {report.taken:,} taken, "
        f"{report.unchanged:,} known before, {report.blank:,} without a grade, "
        f"{len(report.refused):,} refused.",
        markup=False,
    )
    if report.blank == report.rows:
        out.print("No row has a grade: fill in the column `grade`, then import the sheet again.")
    for row in report.refused[:_SHOWN]:
        value = f" ({row.value})" if row.value else ""
        out.print(
            f"{report.file}:{row.line}: {row.field} {row.reason}{value}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    if len(report.refused) > _SHOWN:
        out.print(f"See {report.rejects} for all of them.", markup=False, soft_wrap=True)


@app.command(epilog=example("omnisearch judge report spring > report.md"))
def report(
    name: NameArgument, workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False
) -> None:
    """Agreement of the judges, and relevance of both systems or of the captions, as Markdown."""
    from omnisearch.evaluation.judging.caption_findings import caption_report
    from omnisearch.evaluation.judging.caption_markdown import caption_markdown
    from omnisearch.evaluation.judging.findings import report as make_report
    from omnisearch.evaluation.judging.markdown import markdown
    from omnisearch.evaluation.judging.scale import CAPTIONS

    judging = _opened(workspace, name, writing=False)[1]
    if judging.design.form == CAPTIONS:
        rated = caption_report(judging)
        values, text = rated.to_json(), caption_markdown(rated)
    else:
        found = make_report(judging)
        values, text = found.to_json(), markdown(found)
    if json:
        return emit_json("judge report", values)
    sys.stdout.write(text)


@app.command(epilog=example("omnisearch judge apply spring"))
def apply(
    name: NameArgument, workspace: WorkspaceOption = DEFAULT_WORKSPACE, json: JsonOption = False
) -> None:
    """Add the judgments of finished pairs to the catalogue, for evaluation; those of queries that
    the evaluation does not keep (`draw --queries`), for rankers."""
    from omnisearch.data.catalogue.left_out import LeftOut
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.evaluation.judging.apply import apply as apply_judging
    from omnisearch.evaluation.judging.scale import WANTED

    space, judging = _opened(workspace, name)
    done = apply_judging(judging, open_catalogue(space.catalogue))
    if json:
        return emit_json("judge apply", asdict(done))
    out.print(
        f"{counted(done.pairs, 'finished pair')}: {counted(done.added, 'judgment')} added, "
        f"{done.changed:,} changed, {done.removed:,} removed."
    )
    if not done.pairs and not done.gone:
        out.print(f"A pair is finished once {WANTED} people have judged it.")
    if done.gone:
        out.print(str(LeftOut(done.gone, "pairs", "their items are no longer in the catalogue")))


def _opened(workspace: Path, name: str, writing: bool = True) -> tuple[Workspace, Judging]:
    from omnisearch.data.workspace import Workspace
    from omnisearch.evaluation.judging.folder import Judging

    space = Workspace.open(workspace, writing=writing)
    return space, Judging.open(space, name)


def _read_key() -> str:
    """One key from a terminal, ignoring keys typed ahead; from a pipe, one line."""
    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        return line.strip()[:1] or " " if line else ""
    try:
        return typer.getchar()[:1]
    except EOFError:
        return ""
