"""`omnisearch search`: one query through the whole stack."""

from __future__ import annotations

import atexit
import gc
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from omnisearch.cli.common import (
    DEFAULT_WORKSPACE,
    JsonOption,
    SystemsCommand,
    WorkspaceOption,
    emit_json,
    example,
    out,
)
from omnisearch.data.workspace.counts import counted

if TYPE_CHECKING:
    from omnisearch.engine.response import Response


def register(app: typer.Typer) -> None:
    app.command(
        cls=SystemsCommand,
        epilog=example(
            'omnisearch search "boho bedroom" -k 10',
            'omnisearch search "copper sink" --entity product --price-max 200 --explain',
            'omnisearch search boots --filter "colours=red|blue" --filter "price<80"',
            "omnisearch search boots --facets brand,colours,price --sort price",
        ),
    )(search)


def search(
    query: Annotated[str, typer.Argument(help="What to look for, in any language.")],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    k: Annotated[int, typer.Option("-k", min=1, help="Results per page.")] = 20,
    page: Annotated[int, typer.Option(min=1, help="The page of results.")] = 1,
    system: Annotated[
        str,
        typer.Option(help="How to search and order, one of {systems}."),
    ] = "full",
    entity: Annotated[str | None, typer.Option(help="pin or product.")] = None,
    language: Annotated[str | None, typer.Option(help="Language of the items, such as en.")] = None,
    query_language: Annotated[
        str | None,
        typer.Option(
            help="Language of the query, such as de, if you know it; else it is detected."
        ),
    ] = None,
    country: Annotated[str | None, typer.Option(help="Country of the items, such as US.")] = None,
    user_country: Annotated[
        str | None, typer.Option(help="Country of the user, such as US, for ads of campaigns.")
    ] = None,
    price_min: Annotated[float | None, typer.Option(help="Lowest price of products.")] = None,
    price_max: Annotated[float | None, typer.Option(help="Highest price of products.")] = None,
    brand: Annotated[str | None, typer.Option(help="Brand of products.")] = None,
    board: Annotated[str | None, typer.Option(help="A board's id.")] = None,
    ads: Annotated[bool | None, typer.Option(help="Only ads, or no ads.")] = None,
    filter_: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            help="Of any attribute: colours=red|blue, price<30, 'category=Shoes > Running', "
            "in_stock. May be repeated; all must be met.",
        ),
    ] = None,
    out_of_stock: Annotated[
        str | None,
        typer.Option(
            help="What becomes of what is out of stock: hide, sink (after all else) or show; by "
            "default as in the settings."
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(help="newest, price, -price (from the highest), or a number attribute."),
    ] = None,
    facets: Annotated[
        str | None,
        typer.Option(help="Attributes whose values are counted: brand,colours,price; or auto."),
    ] = None,
    explain: Annotated[bool, typer.Option(help="Show how each result came to its place.")] = False,
    json: JsonOption = False,
) -> None:
    """Search pins and products, and show related queries."""
    # Imports leave no garbage: to look for it meanwhile and at the end is a fifth of the time.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)
    from omnisearch.data.workspace import Workspace
    from omnisearch.engine.filters import Filters
    from omnisearch.engine.search import SearchEngine

    filters = Filters(
        entity=entity,
        language=language,
        country=country,
        price_min=price_min,
        price_max=price_max,
        brand=brand,
        board=board,
        ads=ads,
        where=tuple(filter_ or ()),
        out_of_stock=out_of_stock,
    )
    names = [name.strip() for name in (facets or "").split(",") if name.strip()]
    engine = SearchEngine.open(Workspace.open(workspace), system=system)
    response = engine.search(
        *(query, k, page, filters, explain, system, query_language, sort, names, user_country)
    )
    if json:
        return emit_json("search", asdict(response))
    show(response)
    if response.total and not response.hits:
        out.print(f"Page {response.page:,} is beyond the last: earlier pages have all results.")
    elif not response.total and filters != Filters():
        out.print("Nothing that passes the filters fits the query: leave out or widen some.")
    if explain:
        if response.rules:
            out.print(f"Rules that act: {', '.join(response.rules)}", markup=False)
        source = f" ({response.language_source})" if response.language else ""
        out.print(
            f"Language of the query: {response.language or 'not known'}{source}", markup=False
        )


def show(response: Response) -> None:
    """Print a response as a table, related queries below."""
    from rich.table import Table
    from rich.text import Text

    title = Text(f"“{response.query}”", "bold")
    grid = Table(title=title, title_justify="left")
    for column in ("#", "score", "entity", "title", "price"):
        grid.add_column(column, justify="right" if column in ("#", "score", "price") else "left")
    for hit in response.hits:
        price = "" if hit.price is None else f"{hit.price:,.2f}"
        name = Text(hit.title or hit.id)
        if hit.is_ad:
            name = Text.assemble(("Ad ", "bold yellow"), name)
        grid.add_row(str(hit.rank), f"{hit.score:.3f}", hit.entity, name, price)
    out.print(grid if response.hits else title)
    if any(hit.explain for hit in response.hits):
        from omnisearch.cli.explain import explanation

        out.print(explanation(response))
    for facet in response.facets:
        inside = f" in {facet.parent}" if facet.parent else ""
        counts = " · ".join(f"{each.value} ({each.count:,})" for each in facet.values)
        more = f" · {facet.more:,} more" if facet.more else ""
        out.print(f"{facet.name}{inside}: {counts or 'nothing'}{more}", markup=False)
    if response.related:
        out.print("Related:", " · ".join(entry.query for entry in response.related), markup=False)
    for note in (*response.notes, *response.tried):
        out.print(note, markup=False)
    many = f"{response.matching:,} items have"
    have = {0: "No item has", 1: "1 item has"}.get(response.matching, many)
    out.print(
        f"{have} all words of the query; "
        f"{counted(response.total, 'result')} of generation {response.generation} in "
        f"{response.took_ms:.1f} ms",
        markup=False,
    )
