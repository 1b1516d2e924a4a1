"""The formats of `omnisearch import --format`: the data sets and the feeds."""

from __future__ import annotations

from omnisearch.data.importers.datasets import DATASETS
from omnisearch.data.importers.feeds import FEEDS
from omnisearch.data.importers.importer import Importer
from omnisearch.data.workspace.errors import InputError

_FORMER = {"google": "google-merchant"}


def formats() -> dict[str, Importer]:
    """Data sets, then feeds, by name; raises InputError if both use the same name."""
    for name in FEEDS.keys() & DATASETS.keys():
        raise InputError(
            f"A data set and a feed are both called {name!r}.",
            where="omnisearch.datasets and omnisearch.feeds",
            how="Rename one of them.",
        )
    return {**DATASETS, **FEEDS}


def format_named(name: str) -> Importer:
    """The data set or feed of this name, or an InputError with the known names."""
    known = formats()
    name = _FORMER.get(name, name) if name not in known else name
    if name not in known:
        from omnisearch.data.importers.readers import FORMATS

        raise InputError(
            f"Unknown format {name!r}.",
            where="--format",
            how=f"Use one of {', '.join((*known, *FORMATS))}.",
        )
    return known[name]
