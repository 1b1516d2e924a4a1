"""Which feed of a shop system a file is, by the names of its columns."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from omnisearch.data.importers.columns import folded
from omnisearch.data.importers.feeds import FEEDS
from omnisearch.data.importers.feeds.xml_rows import is_xml, open_xml
from omnisearch.data.importers.importer import Feed
from omnisearch.data.importers.readers import format_of, open_source
from omnisearch.data.workspace.errors import InputError


def found_feed(
    path: Path, delimiter: str | None = None, encoding: str | None = None
) -> Feed | None:
    """The feed that a file is by the names of its columns, or None."""
    feeds = [feed for feed in FEEDS.values() if isinstance(feed, Feed)]
    try:
        if is_xml(path):
            source = open_xml(path, encoding)
        elif format_of(path):
            source = open_source(path, None, delimiter, encoding)
        else:
            return None
        with closing(source.rows):  # type: ignore[type-var]
            row = next(source.rows, None) if source.columns is None else None
    except InputError:
        return None  # told when the file is imported
    columns = {
        folded(name) for name in source.columns or (row.values if row and row.values else ())
    }
    return next((feed for feed in feeds if feed.has(columns)), None)
