"""`omnisearch import`: files into the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
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
    example,
    out,
    table,
)
from omnisearch.cli.progress import progress
from omnisearch.data.workspace.errors import InputError

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
            "omnisearch import pinsage.npy --vectors pinsage --entity pin --ids pins.txt",
            "omnisearch import esci_us --format esci",
            "omnisearch import products.tsv --format google",
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
            help="pins, products, boards, board_items, queries, engagements, judgments or "
            "deletions; by default from the file's name."
        ),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", help="The format of a data set or a shop system, see below."),
    ] = None,
    map_: Annotated[
        list[str] | None,
        typer.Option("--map", help="OUR_FIELD=THEIR_COLUMN; may be repeated."),
    ] = None,
    vectors: Annotated[
        str | None, typer.Option(help="The files are item vectors with this name, such as pinsage.")
    ] = None,
    feature: Annotated[str | None, typer.Option(hidden=True)] = None,
    entity: Annotated[str, typer.Option(help="The entity the vectors belong to.")] = "pin",
    ids: Annotated[Path | None, typer.Option(help="The id list of an .npy file.")] = None,
    strict: Annotated[bool, typer.Option(help="Refuse the whole file if any row is bad.")] = False,
    json: JsonOption = False,
) -> None:
    """Import files. Bad rows are refused with line, field and reason; the others are imported.

    The word `feedback` imports the events and judgments that `omnisearch serve` has collected.
    """
    if feature is not None:
        raise InputError(
            "--feature is now called --vectors.",
            where="--feature",
            how=f"Write --vectors {feature}.",
        )
    with progress(f"import {', '.join(path.name for path in paths)}") as advance:
        reports = pipeline.import_files(
            workspace,
            paths,
            kind=kind,
            format=format_,
            mapping=_mapping(map_ or []),
            vectors=vectors,
            entity=entity,
            ids=ids,
            strict=strict,
            progress=advance,
        )
    if json:
        return emit_json("import", [asdict(report) for report in reports])
    show(workspace, reports)


def show(workspace: Path, reports: Sequence[Report]) -> None:
    """Print the counts of each file, and why rows were refused."""
    rows = [[Path(r.file).name, r.kind, r.rows, r.taken, r.changed, r.refused] for r in reports]
    table(
        f"Imported into {workspace}", ["file", "kind", "rows", "taken", "changed", "refused"], rows
    )
    for report in reports:
        if report.reasons:
            reasons = "; ".join(f"{n:,} × {reason}" for reason, n in report.reasons.items())
            out.print(f"{report.file}: refused {reasons}. See {report.rejects}.", markup=False)


def _mapping(pairs: list[str]) -> dict[str, str]:
    mapping = {}
    for pair in pairs:
        ours, equals, theirs = pair.partition("=")
        if not (ours and equals and theirs):
            raise InputError(
                f"{pair!r} is not a mapping.", where="--map", how="Write title=product_title."
            )
        mapping[ours] = theirs
    return mapping
