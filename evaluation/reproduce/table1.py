"""Table 1: the pairs of queries and items that the log gives for training (§4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict

from omnisearch.data.catalogue.pairs import DATASETS, Caps, Counted, counted_pairs
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.splits import time_split
from omnisearch.data.workspace.errors import NothingToLearn
from omnisearch.evaluation.reproduce.base import base_workspace
from omnisearch.evaluation.reproduce.reproduce import OnRun, Reproduce
from omnisearch.evaluation.reproduce.spec import Study
from omnisearch.evaluation.reproduce.studies import Made, written

PAPER = {"pin": "1.5B", "product": "136M", "offsite": "2.5M", "query": "195M"}
_NAMES = {
    "pin": "query and pin, in the search",
    "product": "query and product, in the search",
    "offsite": "query and product, outside of it",
    "query": "query and related query",
}


def reproduce_table1(study: Study, options: Reproduce, on_run: OnRun | None = None) -> Made:
    """Count the pairs of a log, and write `table1.md` and `table1.json`; nothing is trained.

    Raises:
        NothingToLearn: the log has no pairs.
    """
    workspace = options.source or base_workspace(options.folder, None, study.pins)
    caps = Caps()
    db = open_catalogue(workspace.catalogue)
    with closing(db.conn):
        split = time_split(db)
        counts = counted_pairs(db, split, caps)
    if not any(each.pairs for each in counts.values()):
        raise NothingToLearn(
            "The log gives no pairs for training.",
            where=str(workspace.catalogue),
            how="Import engagements: saves, long clicks, carts, or clicks on related queries.",
        )
    of = "a sample world, synthetic" if options.source is None else str(workspace.root)
    about = (
        f"The log of {of}; {split.training_days or 'it is empty'}. A pair is a query and an item, "
        f"whatever users did with it and how often. A pin is in at most {caps.pin} pairs of a kind "
        f"and a product in at most {caps.product}."
    )
    text = markdown(study.title, about, counts)
    values = {"about": about, "pairs": {name: asdict(each) for name, each in counts.items()}}
    return written(options.folder, "table1", text, values)


def markdown(title: str, about: str, counts: Mapping[str, Counted]) -> str:
    """The table, with the paper's numbers of pairs."""
    lines = [
        *(f"# {title}", "", about, ""),
        "| pair | actions | engagements | pairs | within the caps | in the paper |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for name, found in counts.items():
        actions = ", ".join(action.replace("_", " ") for action in DATASETS[name][1])
        numbers = (found.engagements, found.pairs, found.kept)
        cells = [_NAMES[name], actions, *(f"{each:,}" for each in numbers), PAPER[name]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
