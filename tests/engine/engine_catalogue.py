"""A small catalogue, a log of it, and its tables and token indexes as the indexer writes them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
from engine_fakes import FakeGeneration, FakeSpace, unit_words

from omnisearch.data.catalogue.items import field_texts, read_items
from omnisearch.data.catalogue.schema import set_meta
from omnisearch.data.text.tokens import spelled_words
from omnisearch.data.workspace import Workspace
from omnisearch.indexer.parts.spelling_file import keys_of, open_spelling, write_spelling
from omnisearch.indexer.parts.table_open import open_table
from omnisearch.indexer.parts.table_write import write_table
from omnisearch.indexer.parts.tokens import item_line, open_tokens, write_tokens
from omnisearch.indexer.parts.words import open_texts, write_texts

STYLES = ("boho", "modern", "rustic", "vintage", "nordic")
THINGS = ("bedroom", "kitchen", "sofa", "lamp", "rug", "sink", "garden", "mirror")
DAY = 86_400
UNTIL = 1_700_000_000


def fill(db: Any) -> None:
    """120 pins and 80 products in three languages, some ads, boards, prices, engaged queries."""
    pins, products = [], []
    for number in range(120):
        style, thing = STYLES[number % 5], THINGS[number % 8]
        engaged = [[f"{style} {thing}", 5.0, UNTIL - DAY]] if number % 3 else []
        pins.append(
            {
                "id": f"pin{number}",
                "title": f"{style} {thing} idea {number}",
                "description": f"a {thing} in {style} style" if number % 4 else None,
                "engaged_queries": orjson.dumps(engaged).decode(),
                "language": ("en", "de", None)[number % 3],
                "country": "US" if number % 2 else "DE",
                "image": f"pictures/{number}.svg",
                "link": f"https://example.org/{number}",
                "created_at": UNTIL - number * DAY,
                "campaign": "c1" if number % 10 == 7 else None,
            }
        )
    for number in range(80):
        style, thing = STYLES[number % 5], THINGS[number % 8]
        products.append(
            {
                "id": f"product{number}",
                "title": f"{thing} {style} for sale {number}",
                "brand": ("Old Forge", "Ästhetik")[number % 2],
                "price": 10.0 * number if number % 5 else None,
                "currency": "USD",
                "language": ("en", "de")[number % 2],
                "campaign": "c2" if number % 4 == 3 else None,
            }
        )
    db["pins"].insert_all(pins)
    db["products"].insert_all(products)
    db["boards"].insert({"id": "board 1", "title": "Dreams"})
    for entity, number in (("pin", 0), ("pin", 40), ("pin", 5), ("product", 0), ("product", 40)):
        db["board_items"].insert(
            {"board_id": "board 1", "entity": entity, "item_id": f"{entity}{number}"}
        )
    texts = [f"{style} {thing}" for style in STYLES for thing in THINGS] + ["bedroom boho"]
    db["queries"].insert_all({"id": text, "text": text, "language": "en"} for text in texts)
    db.conn.commit()
    set_meta(db, "engaged_until", UNTIL)
    db.conn.commit()


def log_choices(db: Any) -> None:
    """Searches after UNTIL: of what is shown, people save the products below 200 of any thing.

    The last event makes UNTIL the end of training: a gap of 15 days, 7 days of evaluation.
    """
    shown = list(db.query("SELECT id, price FROM products"))
    rows = []
    for number, text in enumerate(sorted(row["id"] for row in db["queries"].rows)):
        for position, row in enumerate(shown[number % 3 :: 3], 1):
            seen = (UNTIL + number * 600, text, "product", row["id"])
            rows.append((*seen, "impression", position))
            if row["price"] and row["price"] < 200:
                rows.append((*seen, "save", position))
    rows.append((UNTIL - DAY, "early words", "pin", "pin1", "save", 1))
    rows.append((UNTIL + 14 * DAY, "late words", "pin", "pin1", "save", 1))
    rows.append((UNTIL + 22 * DAY - 1, "boho sofa", "pin", "pin1", "save", 1))
    rows += [  # or these two would be strays
        (time, text, "pin", f"pin{n}", "impression", n)
        for time, text in ((UNTIL - DAY, "early words"), (UNTIL + 22 * DAY - 2, "boho sofa"))
        for n in range(2, 30)
    ]
    names = "event, time, query, entity, item_id, action, position, count"
    db.conn.executemany(
        f"INSERT INTO engagements ({names}) VALUES (?, ?, ?, ?, ?, ?, ?, 1)",
        [(event, *row) for event, row in enumerate(rows)],
    )
    db.conn.commit()


def index(workspace: Workspace, db: Any) -> FakeGeneration:
    """Tables and token indexes in the workspace's folder; spaces in memory."""
    tables, tokens, texts_of, spaces = {}, {}, {}, {}
    spelled: Counter[str] = Counter()
    for entity in ("pin", "product", "query"):
        items = [item for batch in read_items(db, entity) for item in batch]
        folder = workspace.root / "indexed" / entity
        folder.mkdir(parents=True)
        write_table(folder, db, entity, [item["id"] for item in items])
        tables[entity] = open_table(folder, entity)
        texts = [item.get("text") or " ".join(field_texts(item)) for item in items]
        spaces[entity, "learned"] = FakeSpace(unit_words(texts))
        if entity != "query":
            lines = [item_line(item) for item in items]
            write_tokens(folder, lines)
            write_texts(folder, lines)
            texts_of[entity] = open_texts(folder, len(items))
            tokens[entity] = open_tokens(folder, len(items), "tantivy")
            spelled.update(word for text in texts for word in spelled_words(text))
            older = unit_words([item["title"] for item in items])
            older[::7] = 0  # items that the older embedding does not know
            spaces[entity, {"pin": "pinsage", "product": "itemsage"}[entity]] = FakeSpace(older)
    write_spelling(workspace.root / "indexed", spelled, keys_of([]))
    spelling = open_spelling(workspace.root / "indexed")
    facts = {"engaged_until": UNTIL}
    return FakeGeneration(tables, tokens, texts_of, spaces, spelling, manifest=facts)
