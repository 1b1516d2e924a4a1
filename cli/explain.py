"""`search --explain`: how each result came to its place, a column for each stage, and a legend."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from omnisearch.engine.response import Hit, Response

# Key of an explanation → heading, and what the figure is; in the order of a search.
_STAGES = {
    "bm25": ("words", "BM25: how well the item's words match the query's"),
    "learned": ("meaning", "cosine of query and item in the learned space, at most 1"),
    "compat": ("older", "cosine in an older space (PinSage of pins, ItemSage of products)"),
    "rrf": ("fusion", "the ranks of all sources added up as 1 / (60 + rank)"),
    "l1": ("L1", "score of the light ranker, which orders all that was found"),
    "l2": ("L2", "score of the full ranker, which orders the best of L1"),
    "teacher": ("teacher", "grade of the teacher, which orders the first results again"),
}
_FOUND_BY = "its rank in each source that found it"
_BOUND = "placed there by a bound on ads or on pins and products, not by its score"


def explanation(response: Response) -> RenderableType:
    """The hits of a response with their explanations, as a table; its legend below."""
    told = {hit.rank: hit.explain or {} for hit in response.hits}
    columns = [
        key for key in _STAGES if any(explain.get(key) is not None for explain in told.values())
    ]
    grid = Table(title=Text("How each result came to its place", "bold"), title_justify="left")
    grid.add_column("#", justify="right")
    grid.add_column("found by", overflow="fold")
    for key in columns:
        grid.add_column(_STAGES[key][0], justify="right")
    for hit in response.hits:
        figures = (told[hit.rank].get(key) for key in columns)
        cells = ["–" if value is None else f"{value:.3f}" for value in figures]
        grid.add_row(_place(hit), Text(_found_by(told[hit.rank])), *cells)
    legend = [f"{_STAGES[key][0]}: {_STAGES[key][1]}" for key in columns]
    if any(explain.get("blend") == "bound" for explain in told.values()):
        legend.append(f"*: {_BOUND}")
    ruled = [
        f"Rules at {hit.rank}: {', '.join(rules)}"
        for hit in response.hits
        if (rules := told[hit.rank].get("rules"))
    ]
    sold = [
        f"Ad at {hit.rank}: {_auctioned(ad)}"
        for hit in response.hits
        if (ad := told[hit.rank].get("ad"))
    ]
    seconds = ", ".join(f"{name} {spent:.1f}" for name, spent in response.stages.items())
    stages = f"Milliseconds of each stage: {seconds}"
    lines = [*ruled, *sold, f"found by: {_FOUND_BY}", *legend, stages]
    return Group(grid, *(Text(line, "dim") for line in lines))


def _auctioned(ad: dict[str, Any]) -> str:
    """How it came to its place, without what no model predicts."""
    names = {"bid": "bid", "rate": "rate of long clicks", "relevance": "probably relevant"}
    told = [f"{said} {ad[key]:.3g}" for key, said in names.items() if ad[key] is not None]
    return f"campaign {ad['campaign']}, {', '.join(told)}; {ad['place']} of its auction"


def _place(hit: Hit) -> str:
    return f"{hit.rank}{'*' if (hit.explain or {}).get('blend') == 'bound' else ''}"


def _found_by(explain: dict[str, Any]) -> str:
    """'words 3, meaning 1': a source without a word of its own is given by its name."""
    sources = explain.get("sources", {})
    return ", ".join(f"{_named(name)} {says['rank']}" for name, says in sources.items())


def _named(source: str) -> str:
    words = {"token": "words", "learned": "meaning"}
    words |= {f"ads_{kind}": f"ads by {said}" for kind, said in words.items()}
    kind = source.rpartition("_")[0]
    return words.get(kind, kind or source)
