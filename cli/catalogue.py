"""`omnisearch catalogue`: the catalogue as a data set of Parquet files."""

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
)
from omnisearch.cli.progress import progress
from omnisearch.data.workspace.counts import counted

if TYPE_CHECKING:
    from omnisearch.data.dataset.manifest import Manifest

app = typer.Typer(help="The catalogue as a data set of Parquet files.", no_args_is_help=True)

PlaceArgument = Annotated[
    str, typer.Argument(metavar="DIR_OR_URL", help="A folder, or a URL such as s3://bucket/shop.")
]


@app.command(epilog=example("omnisearch catalogue export shop-dataset"))
def export(
    place: PlaceArgument,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    buckets: Annotated[
        int, typer.Option(min=1, max=1000, help="Files for each entity type and table.")
    ] = 16,
    json: JsonOption = False,
) -> None:
    """Write the whole catalogue, its vectors and the feedback log as Parquet files.

    Items are divided into buckets by a hash of their ids, events by day. The place must be new.
    `manifest.json` has the sha256 of each file and is written last.
    """
    from omnisearch.data.dataset.export import export_catalogue
    from omnisearch.data.dataset.place import place_at
    from omnisearch.data.workspace import Workspace

    with progress("rows exported") as advance:
        manifest = export_catalogue(Workspace.open(workspace), place_at(place), buckets, advance)
    _tell("catalogue export", manifest, json, f"Wrote {{}} to {place}.")


@app.command("import", epilog=example("omnisearch catalogue import shop-dataset -w another"))
def import_(
    place: PlaceArgument,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    json: JsonOption = False,
) -> None:
    """Make a new workspace of a data set: the same catalogue that was exported.

    Each file is compared with its sha256 before it is read. A damaged data set changes nothing.
    """
    from omnisearch.data.dataset.load import import_catalogue
    from omnisearch.data.dataset.place import place_at

    with progress("files imported") as advance:
        manifest = import_catalogue(workspace, place_at(place), advance)
    _tell("catalogue import", manifest, json, f"{workspace} has {{}} of {place}.")


@app.command(epilog=example("omnisearch catalogue enrich shop-dataset"))
def enrich(place: PlaceArgument, json: JsonOption = False) -> None:
    """Compute board titles and engaged queries of a data set's items, bucket by bucket.

    They become what `omnisearch enrich boards` and `omnisearch enrich queries` make of the same
    catalogue. All files change at once. A run that was stopped is continued.
    """
    from omnisearch.data.dataset.place import place_at
    from omnisearch.enrichment.dataset.columns import enrich_dataset
    from omnisearch.enrichment.told import sentences

    with progress("files enriched") as advance:
        counts = enrich_dataset(place_at(place), advance)
    if json:
        return emit_json("catalogue enrich", counts)
    told = [line for name, each in counts.items() for line in sentences(name, each)]
    for line in told or [f"{place} has no boards and no log: nothing to enrich from."]:
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def _tell(command: str, manifest: Manifest, json: bool, sentence: str) -> None:
    size = sum(entry["bytes"] for entry in manifest.files.values())
    if json:
        told: dict[str, Any] = {"files": len(manifest.files), "bytes": size, "rows": manifest.rows}
        return emit_json(command, told)
    names = {"pins": "pin", "products": "product", "queries": "query", "engagements": "event"}
    rows = [counted(manifest.rows[name], one, name) for name, one in names.items()]
    rows += [f"{counted(len(manifest.files), 'file')}, {size / 1e6:,.1f} MB"]
    out.print(sentence.format(", ".join(rows)), markup=False, soft_wrap=True)
