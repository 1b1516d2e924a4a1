"""A small catalogue and a stand-in for the search engine, with results chosen by the test."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from omnisearch.data.catalogue.schema import open_catalogue, set_meta
from omnisearch.data.text.normalise import normalise_query

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 80 100">'
    '<script>document.title = "owned"</script>'
    '<rect width="80" height="100" fill="hsl({hue} 45% 72%)"/>'
    '<circle cx="{x}" cy="46" r="24" fill="hsl({hue} 50% 40%)"/></svg>'
)


@dataclass
class FakeEngine:
    """Answers from fixed rankings: system → query → [(entity, id)]."""

    db: Any
    rankings: dict[str, dict[str, list[tuple[str, str]]]]
    related: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    asked: list[tuple[str, str, int]] = field(default_factory=list)

    def rank(self, query: str, system: str, k: int) -> list[tuple[str, str, float]]:
        self.asked.append((query, system, k))
        items = self.rankings[system].get(normalise_query(query), [])[:k]
        return [(entity, key, 1.0 / rank) for rank, (entity, key) in enumerate(items, 1)]

    def warm(self, queries: Any) -> int:
        return 0

    def search(self, query: str, k: int = 20, *, system: str = "full") -> Any:
        hits = []
        for rank, (entity, key, score) in enumerate(self.rank(query, system, k), 1):
            table = "pins" if entity == "pin" else "products"
            row = next(self.db.query(f"SELECT * FROM {table} WHERE id = ?", [key]))
            shown = {name: row.get(name) for name in ("title", "image", "link", "price", "brand")}
            shown |= {"rank": rank, "entity": entity, "id": key, "score": score, "explain": None}
            shown |= {"currency": row.get("currency"), "is_ad": bool(row["campaign"])}
            hits.append(SimpleNamespace(**shown))
        related = [SimpleNamespace(query=text, score=0.5) for text in self.related]
        return SimpleNamespace(
            hits=hits, related=related, generation=3, took_ms=1.25, notes=self.notes
        )


@pytest.fixture
def db(tmp_path: Path) -> Any:
    """12 pins and 6 products with pictures beside the catalogue."""
    db = open_catalogue(tmp_path / "catalogue.db", create=True)
    (tmp_path / "pictures").mkdir()
    for number in range(18):
        image = f"pictures/{number}.svg"
        (tmp_path / image).write_text(SVG.format(hue=number * 40 % 360, x=20 + number * 3))
        if number < 12:
            row = {"id": f"p{number}", "title": f"Copper sink number {number}", "image": image}
            db["pins"].insert(row | {"link": f"https://example.org/{number}"})
        else:
            row = {"id": f"s{number}", "title": f"Hammered basin {number}", "image": image}
            more = {"price": 100.0 + number, "currency": "USD", "brand": "Old Forge"}
            db["products"].insert(row | more)
    db["queries"].insert({"id": "copper sink", "text": "Copper sink", "split": "test"})
    return db


def pins(*numbers: int) -> list[tuple[str, str]]:
    return [("pin", f"p{n}") if n < 12 else ("product", f"s{n}") for n in numbers]


@pytest.fixture
def engine(db: Any) -> FakeEngine:
    """Three systems over 'copper sink'; the first pins are relevant, some later ones are not."""
    for number, grades in {0: (1, 1), 1: (1, 0.5), 2: (0, 1), 9: (0, 0), 10: (0.2, 0.4)}.items():
        for judge, grade in enumerate(grades):
            db["judgments"].insert(
                {
                    **{"query": "copper sink", "entity": "pin", "item_id": f"p{number}"},
                    **{"judge": f"judge {judge}", "grade": grade, "time": 0},
                }
            )
    db.conn.commit()
    rankings = {
        "token": {"copper sink": pins(9, 10, 0, 3, 12, 4, 13)},
        "embedding": {"copper sink": pins(0, 1, 2, 14, 5, 6, 9, 15)},
        "full": {"copper sink": pins(0, 1, 12, 2, 14, 7, 10, 16, 17)},
    }
    return FakeEngine(db, rankings, related=["antique basin", "copper tap"])


@pytest.fixture
def synthetic(db: Any) -> Any:
    with db.conn:
        set_meta(db, "synthetic", True)
    return db


@pytest.fixture(scope="session")
def tables_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of `omnisearch reproduce` with a sample world of 300 pins, which tests share."""
    from omnisearch.evaluation.reproduce.base import base_workspace

    folder = tmp_path_factory.mktemp("reproduction")
    base_workspace(folder, None, 300)
    return folder
