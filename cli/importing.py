"""`omnisearch import`: files into the catalogue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand

from omnisearch import pipeline
from omnisearch.cli.common import (
    DEFAULT_WORKSPACE,
    JsonOption,
    WorkspaceOption,
    emit_json,
    err,
    example,
    out,
    table,
)
from omnisearch.cli.progress import progress
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError, OmniError

if TYPE_CHECKING:
    from omnisearch.data.importers.transaction import Report


class ImportCommand(TyperCommand):
    """Appends the formats to its help when it is shown, because plug-ins may add some."""

    @property
    def epilog(self) -> str:
        from omnisearch.data.importers.formats import formats

        listed = "\n".join(f"* `{name}`: {entry.about}" for name, entry in formats().items())
        return f"Formats:\n\n{listed}\n\n{self._examples}"

    @epilog.setter
    def epilog(self, examples: str) -> None:
        self._examples = examples


def register(app: typer.Typer) -> None:
    app.command(
        "import",
        cls=ImportCommand,
        epilog=example(
            "omnisearch import sample",
            "omnisearch import products.csv --kind products --map title=product_title",
            "omnisearch import clicks.txt --kind engagements --set entity=product --delimiter ';'",
            "omnisearch import pinsage.npy --vectors pinsage --entity pin --ids pins.txt",
            "omnisearch import esci_us --format esci",
            "omnisearch import products_export.csv --format shopify",
            "omnisearch import campaigns.jsonl",
            "omnisearch import feedback",
        ),
    )(import_)


def import_(
    paths: Annotated[
        list[Path], typer.Argument(help="Files, folders of conventional names, or `feedback`.")
    ],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    kind: Annotated[
        str | None,
        typer.Option(
            help="pins, products, boards, board_items, queries, engagements, judgments, "
            "campaigns or deletions; by default from the file's name."
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="The format of a data set or a shop system, see below; or of a plain file, such "
            "as csv. A shop system's is also known by its columns.",
        ),
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="OUR_FIELD=THEIR_COLUMN, attributes.NAME=THEIR_COLUMN, or a value and their words "
            "for it: action.click=CLIC,VUE; may be repeated.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="FIELD=VALUE in every row, such as entity=product; may be repeated."
        ),
    ] = None,
    delimiter: Annotated[
        str | None,
        typer.Option(
            help="What separates the columns of a table, such as ';' or tab; by default it is "
            "found in the file."
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            help="The encoding of a text, such as windows-1251 or shift_jis; by default UTF-8, "
            "UTF-16 and Windows-1252 are found in the file."
        ),
    ] = None,
    vectors: Annotated[
        str | None, typer.Option(help="The files are item vectors with this name, such as pinsage.")
    ] = None,
    feature: Annotated[str | None, typer.Option(hidden=True)] = None,
    entity: Annotated[str, typer.Option(help="The entity the vectors belong to.")] = "pin",
    ids: Annotated[Path | None, typer.Option(help="The id list of an .npy file.")] = None,
    bits: Annotated[
        bool,
        typer.Option("--bits", help="The vectors are packed bits, as numpy.packbits writes them."),
    ] = False,
    strict: Annotated[
        bool, typer.Option(help="Refuse the whole file if any row or value is bad.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Import files. Bad rows are refused with line, field and reason; the others are imported.

    A bad value of an optional field is left out and told, and its row is taken. A file of which no
    row was taken ends with exit status 2.

    The word `feedback` imports the events and judgments that `omnisearch serve` has collected.
    """
    if feature is not None:
        raise InputError(
            "--feature is now called --vectors.",
            where="--feature",
            how=f"Write --vectors {feature}.",
        )
    reports: list[Report] = []
    try:
        with progress(f"import {', '.join(path.name for path in paths)}") as advance:
            pipeline.import_files(
                workspace,
                paths,
                kind=kind,
                format=format_,
                mapping=_pairs("--map", map_ or [], "title=product_title"),
                constants=_pairs("--set", set_ or [], "entity=product"),
                delimiter=delimiter,
                encoding=encoding,
                vectors=vectors,
                entity=entity,
                ids=ids,
                bits=bits,
                strict=strict,
                progress=advance,
                reports=reports,
            )
    except Exception as error:  # of one file: those before it are imported
        if reports and not json:
            show(workspace, reports)
        elif reports and isinstance(error, OmniError):
            error.done = [asdict(report) for report in reports]
        raise
    feedback = str(Workspace(workspace).feedback)
    untaken, empty = _untaken(reports), _without_rows(reports, feedback)
    if json:
        emit_json("import", [asdict(report) for report in reports])
    elif any(report.file not in empty or report.notes for report in reports):
        show(workspace, reports)
    if untaken:
        _say_error(f"No row was taken from {', '.join(untaken)}.")
    if empty:
        _say_error(
            f"There are no rows to import in {', '.join(empty)}. Look at what was written there, "
            "write or export it again with rows below the header, and import that."
        )
    if untaken or empty:
        raise typer.Exit(InputError.exit_code)


def show(workspace: Path, reports: Sequence[Report]) -> None:
    """Print the counts of each file, and what was left out of it, with the reasons."""
    columns = ["file", "kind", "rows", "taken", "changed", "refused", "left out"]
    rows = [
        [Path(r.file).name, r.kind, r.rows, r.taken, r.changed, r.refused, r.left_out]
        for r in reports
    ]
    table(f"Imported into {workspace}", columns, rows)
    for report in reports:
        for sentence in sentences(report):
            out.print(f"{Path(report.file).name}: {sentence}", markup=False, highlight=False)


def sentences(report: Report) -> list[str]:
    """What a report says besides its counts."""
    told = list(report.notes)
    if report.attributes:
        told.append(f"Attributes: {', '.join(report.attributes)}.")
    if report.ignored:
        shown = ", ".join(report.ignored)
        told.append(f"Columns that {report.kind} do not have, and that were not read: {shown}.")
    refused = Counter(report.reasons) - Counter(report.left_out_reasons)
    if refused:
        told.append(f"Rows refused: {_reasons(refused)}.")
    if report.left_out_reasons:
        told.append(
            f"Values left out of rows that were taken: {_reasons(report.left_out_reasons)}."
        )
    if report.rejects:
        told.append(f"Each is listed in {report.rejects}.")
    if any(reason.endswith("is not UTF-8") for reason in report.reasons):
        told.append(
            "The rest of the file is UTF-8, or was taken for it. If it is in another encoding, "
            "import it again with --encoding, such as windows-1252."
        )
    if any(reason.startswith("action is not a known") for reason in report.reasons):
        told.append("Name the file's words for actions with --map, such as action.click=CLIC,VUE.")
    if report.taken and not report.changed:
        told.append(_unchanged(report))
    return told


def _reasons(reasons: Mapping[str, int]) -> str:
    return "; ".join(f"{n:,} × {reason}" for reason, n in reasons.items())


def _unchanged(report: Report) -> str:
    if report.same_as is None:
        return "Nothing changed: the catalogue holds all that was taken already."
    when = datetime.fromtimestamp(report.same_as).strftime("%Y-%m-%d %H:%M")
    return f"Nothing changed: the file is as it was when it was imported on {when}."


def _untaken(reports: Sequence[Report]) -> list[str]:
    """The files that have rows, of which none was taken."""
    return list(dict.fromkeys(r.file for r in reports if r.rows and not r.taken))


def _without_rows(reports: Sequence[Report], feedback: str) -> list[str]:
    """The files that have no rows of any kind. A log of feedback may have none."""
    with_rows = {report.file for report in reports if report.rows} | {feedback}
    return list(dict.fromkeys(r.file for r in reports if r.file not in with_rows))


def _say_error(sentence: str) -> None:
    err.print("[bold red]Error:[/] ", end="")
    err.print(sentence, markup=False, highlight=False)


def _pairs(option: str, given: list[str], such_as: str) -> dict[str, str]:
    pairs = {}
    for pair in given:
        ours, equals, theirs = pair.partition("=")
        if not (ours and equals and theirs):
            raise InputError(
                f"{pair!r} is not a pair.", where=option, how=f"Write {option} {such_as}."
            )
        pairs[ours] = theirs
    return pairs
