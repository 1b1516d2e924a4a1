"""`omnisearch compare`: token, embedding and full-stack results side by side (Figure 5)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from omnisearch.cli.common import (
    DEFAULT_WORKSPACE,
    JsonOption,
    SystemsCommand,
    WorkspaceOption,
    emit_json,
    err,
    example,
    out,
    systems_named,
)
from omnisearch.cli.progress import progress
from omnisearch.data.workspace.errors import InputError

if TYPE_CHECKING:
    from omnisearch.data.workspace import Workspace


def register(app: typer.Typer) -> None:
    app.command(
        cls=SystemsCommand,
        epilog=example(
            'omnisearch compare "antique copper bathroom sink" --html page.html',
            "omnisearch compare --queries queries.txt",
        ),
    )(compare)


def compare(
    query: Annotated[str | None, typer.Argument(help="The query to show.")] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    queries: Annotated[
        Path | None, typer.Option(help="Show figures over all queries of this file instead.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Results per system.")] = 12,
    systems: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated names from {systems}.  [default: token,embedding,full, without "
            "embedding while there are no embeddings]"
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write one self-contained page here.")] = None,
    json: JsonOption = False,
) -> None:
    """Show what each system finds, what they share, and which results judges found relevant."""
    named = systems_named(systems)
    _check_options(query, queries, html)
    from omnisearch.evaluation.query_file import read_queries

    asked = [] if queries is None else read_queries(queries)
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.data.workspace import Workspace
    from omnisearch.engine.retrieval import answered
    from omnisearch.engine.search import SearchEngine
    from omnisearch.evaluation import compare as one
    from omnisearch.evaluation import compare_set
    from omnisearch.evaluation import render_terminal as terminal
    from omnisearch.evaluation.pictures import picture_folders
    from omnisearch.evaluation.report_html import comparison_page
    from omnisearch.evaluation.report_set_html import set_page

    space = Workspace.open(workspace)
    db = open_catalogue(space.catalogue)
    engine = SearchEngine.open(space)
    names = named or answered(engine.snapshot, one.COMPARED)
    data: dict[str, Any]
    if query is not None:
        comparison = one.compare_query(engine, db, query, k, names)
        data, shown = comparison.to_json(), terminal.comparison_table(comparison)
        page = comparison_page(comparison, picture_folders(db), image_origins(space))
    else:
        options = compare_set.SetOptions(systems=names, k=k)
        with progress("compare") as advance:
            found = compare_set.compare_queries(engine, db, asked, options, advance)
        data, shown = found.to_json(), terminal.set_tables(found)
        page = set_page(found)
    if html:
        write_page(html, page)
    if json:
        return emit_json("compare", data)
    out.print(shown)
    if html:
        err.print(f"Wrote {html}.", markup=False)


def _check_options(query: str | None, queries: Path | None, html: Path | None) -> None:
    """Refuse what cannot be done before anything is opened."""
    if query is not None and queries is not None:
        raise InputError(
            f"The query {query!r} and --queries {queries} are both given.",
            where="compare",
            how="Leave one of them out.",
        )
    if query is None and queries is None:
        raise InputError(
            "Neither a query nor --queries FILE is given.", where="compare", how="Give one of them."
        )
    if html is not None and not html.parent.is_dir():
        raise InputError(
            "The page cannot be written: there is no such folder.",
            where=str(html.parent),
            how="Make it, or name another.",
        )


def image_origins(workspace: Workspace) -> frozenset[str]:
    """The origins from which pages may load pictures: those that the service allows."""
    from omnisearch.service.config import service_config

    return frozenset(service_config(workspace).image_origins.split())


def write_page(path: Path, page: str) -> None:
    """Write an HTML file; raises InputError if that fails."""
    try:
        path.write_text(page, "utf-8")
    except OSError as error:
        raise InputError(
            f"The page cannot be written ({error.strerror}).", where=str(path)
        ) from error
