"""A small catalogue made in code: ten themes whose query words and item words differ."""

from __future__ import annotations

import numpy as np
import orjson
import sqlite_utils

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.workspace import Workspace

DAY = 86_400
END = 400 * DAY  # the last event is before this
THEMES = {
    "sofa": ("settee", "couch"),
    "wedding": ("bridal", "bride"),
    "garden": ("yard", "planting"),
    "pasta": ("noodles", "carbonara"),
    "nails": ("manicure", "polish"),
    "running": ("jogging", "marathon"),
    "crochet": ("yarn", "amigurumi"),
    "paris": ("eiffel", "louvre"),
    "laptop": ("keyboard", "screen"),
    "nursery": ("baby", "crib"),
}
COLOURS = ("red", "blue", "green", "black", "white", "pink")


def fill(workspace: Workspace, *, pins: int = 120, products: int = 60) -> sqlite_utils.Database:
    """Items, queries, engagements over 100 days; features pinsage, itemsage and image."""
    db = open_catalogue(workspace.catalogue, create=True)
    rng = np.random.default_rng(3)
    themes = list(THEMES)
    for table, entity, count in (("pins", "pin", pins), ("products", "product", products)):
        rows = []
        for number in range(count):
            theme = themes[number % len(themes)]
            colour = COLOURS[number // len(themes) % len(COLOURS)]
            word = THEMES[theme][number % 2]
            rows.append(
                {
                    "id": f"{entity}{number:04d}",
                    "title": f"{colour} {word} {number}",
                    "caption": f"a picture of a {colour} {word}",
                    "board_titles": orjson.dumps([f"{theme} ideas"]).decode(),
                    "engaged_queries": orjson.dumps(
                        [[f"{colour} {theme}", 4, END - 60 * DAY], [theme, 2, END - 60 * DAY]]
                    ).decode(),
                }
            )
        db[table].insert_all(rows)
        ids = [row["id"] for row in rows]
        theme_of = np.arange(count) % len(themes)
        centre = np.random.default_rng(5).normal(size=(len(themes), 32))
        noisy = centre[theme_of] + 0.3 * rng.normal(size=(count, 32))
        if entity == "pin":
            write_vectors(workspace, db, "pinsage", "pin", ids, noisy[:, :16].astype(np.float32))
        else:
            write_vectors(workspace, db, "itemsage", "product", ids[1:], noisy[1:].astype("f4"))
        write_vectors(workspace, db, "image", entity, ids[::2], noisy[::2, :8].astype(np.float32))
    _log(db, pins, products, rng)
    db.conn.commit()
    return db


def _log(db: sqlite_utils.Database, pins: int, products: int, rng: np.random.Generator) -> None:
    themes = list(THEMES)
    queries = {f"{colour} {theme}" for colour in COLOURS for theme in themes} | set(themes)
    db["queries"].insert_all({"id": query, "text": query} for query in sorted(queries))
    events = []

    def event(query: str, entity: str, item: str, action: str) -> None:
        time = END - 1 - int(rng.integers(0, 100 * DAY))
        events.append(
            {
                "event": len(events),
                "time": time,
                "query": query,
                "entity": entity,
                "item_id": item,
                "action": action,
                "count": 1,
            }
        )

    for entity, count in (("pin", pins), ("product", products)):
        for number in range(count):
            theme = themes[number % len(themes)]
            colour = COLOURS[number // len(themes) % len(COLOURS)]
            for query in (theme, f"{colour} {theme}"):
                for action in ("save", "long_click"):
                    event(query, entity, f"{entity}{number:04d}", action)
            if entity == "product":
                event(f"{colour} {theme}", entity, f"{entity}{number:04d}", "add_to_cart")
    for colour in COLOURS:
        for theme in themes:
            event(theme, "query", f"{colour} {theme}", "click")
    db["engagements"].insert_all(events)
