"""Judgings made for tests: their queries, and what two systems show, chosen by the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from omnisearch.data.workspace import Workspace
from omnisearch.evaluation.judging.answers import open_log
from omnisearch.evaluation.judging.draw import pair_id
from omnisearch.evaluation.judging.folder import Design, Judging, Pair, Shown, write_judging
from omnisearch.evaluation.judging.queries import DrawnQuery

SYSTEMS = ("token", "full")
Results = Mapping[str, tuple[Sequence[str], Sequence[str]]]  # query → ids of pins, by system


def make_judging(
    folder: Path, results: Results, k: int = 2, queries: Sequence[DrawnQuery] = ()
) -> Judging:
    """A judging named 'spring' over pins with the titles that their ids are."""
    workspace = Workspace.create(folder)
    design = Design(list(SYSTEMS), k, seed=0, generation=1, checkpoint="c", drawn_at=5, notes=[])
    given = queries or [DrawnQuery(query, "head", 10, 1.0) for query in results]
    pairs = [
        make_pair(query, item)
        for query, shown in results.items()
        for item in sorted({*shown[0], *shown[1]})
    ]
    shown = [
        Shown(query, system, [pair_id(query, ("pin", item)) for item in items])
        for query, by_system in results.items()
        for system, items in zip(SYSTEMS, by_system, strict=True)
    ]
    write_judging(workspace.judging / "spring", design, given, pairs, shown)
    return Judging.open(workspace, "spring")


def make_pair(query: str, item: str, **other: object) -> Pair:
    texts = {"title": item, "description": "", "brand": "", "currency": "", "image": "", "link": ""}
    fields = {"price": None, **texts, **other}
    key = pair_id(query, ("pin", item))
    return Pair(key, query=query, text=query, entity="pin", item_id=item, **fields)  # type: ignore[arg-type]


def answer(judging: Judging, judge: str, grades: Mapping[tuple[str, str], int | None]) -> None:
    """Give grades by (query, id of a pin)."""
    with open_log(judging, judge) as log:
        log.add({pair_id(query, ("pin", item)): grade for (query, item), grade in grades.items()})
