"""A snapshot that nobody searches any more is freed at once, without the garbage collector."""

from __future__ import annotations

import gc
import weakref
from contextlib import closing

from omnisearch import pipeline
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.engine.filters import Filters
from omnisearch.engine.rules.file import read_rules
from omnisearch.engine.rules.published import publish_rules
from omnisearch.engine.search import SearchEngine


def used(engine: SearchEngine, title: str) -> None:
    engine.search(title, k=5, facets=("brand", "price"), explain=True)
    engine.search("dres", system="token")  # a typo
    engine.search("dress", filters=Filters(price_max=50, out_of_stock="hide"))
    engine.suggest(title[:4])


def test_a_snapshot_that_was_replaced_is_freed_at_once(served: Workspace, a_title: str) -> None:
    content = b"version = 1\n[[pin]]\nall = true\nitem = 'product/a'\nplace = 5\n"
    publish_rules(served, content, read_rules(content)[0])
    engine = SearchEngine.open(served)
    used(engine, a_title)
    for _ in range(2):  # the second stands on the first
        with closing(open_catalogue(served.catalogue).conn) as db, db:
            db.execute(
                "UPDATE products SET price = price + 1 WHERE id = (SELECT MIN(id) FROM products)"
            )
        pipeline.update_index(served)
        parts = [engine.snapshot, engine.snapshot.generation, engine.snapshot.index]
        parts.append(engine.snapshot.suggester)
        seen = [weakref.ref(part) for part in parts]
        del parts
        gc.collect()
        gc.disable()
        try:
            engine.swap(engine.open_next())
            assert [part() for part in seen] == [None] * len(seen)
        finally:
            gc.enable()
        used(engine, a_title)
    engine.close()
