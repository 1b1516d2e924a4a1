"""Amazon's Shopping Queries sample (`esci_us`): `products.jsonl` and `judgments.tsv`.

Grades are the usual gains of exact, substitute, complement and irrelevant. Engagement derived for
training queries: an exact match is saved and put into the cart, a substitute is clicked.
"""

from __future__ import annotations

from pathlib import Path

from omnisearch.data.importers.datasets.labels import Splits, derived, note_derived, texts_in
from omnisearch.data.importers.transaction import Report
from omnisearch.data.importers.translate import Values, file_of, once, take
from omnisearch.data.importers.value_checks import Refused
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.progress import Progress

GAINS = {"E": 1.0, "S": 0.1, "C": 0.01, "I": 0.0}
ACTIONS = {"E": ("save", "add_to_cart"), "S": ("click",)}


def import_esci(
    workspace: Workspace, folder: Path, progress: Progress | None = None
) -> list[Report]:
    """Import products, queries, judgments and derived engagement; ids become 'esci:<asin>'."""
    products = file_of(folder, "products.jsonl")
    labels = file_of(folder, "judgments.tsv")
    splits = Splits(workspace, texts_in(labels, "query"))
    note_derived(workspace, "esci")

    def query(values: Values) -> list[Values]:
        text = values["query"]
        return [{"text": text, "language": "en", "country": "US", "split": splits.of(text)}]

    def engagement(values: Values) -> list[Values]:
        if splits.of(values["query"]) != "train":
            return []
        actions = ACTIONS.get(_label(values), ())
        return [derived(values["query"], _id(values), "product", action) for action in actions]

    return [
        take(workspace, products, "products", _product, progress),
        take(workspace, labels, "queries", once("text", query), progress),
        take(workspace, labels, "judgments", _judgment, progress),
        take(workspace, labels, "engagements", engagement, progress),
    ]


def _id(values: Values) -> str:
    if not values["asin"]:
        raise Refused("asin", "is missing")
    return f"esci:{values['asin']}"


def _product(values: Values) -> list[Values]:
    written = [values.get("description"), values.get("bullet_points")]
    return [
        {
            "id": _id(values),
            "title": values["title"],
            "description": "\n".join(text for text in written if text) or None,
            "brand": values.get("brand"),
            "colours": [values["color"]] if values.get("color") else None,
            "image": values.get("image"),
            "link": f"https://www.amazon.com/dp/{values['asin']}",
            "price": values.get("price"),
            "currency": "USD" if values.get("price") is not None else None,
            "product_types": values.get("category"),
            "language": "en",
            "country": "US",
        }
    ]


def _label(values: Values) -> str:
    if values["esci_label"] not in GAINS:
        raise Refused("esci_label", "is not one of E, S, C, I", values["esci_label"])
    return values["esci_label"]


def _judgment(values: Values) -> list[Values]:
    grade = GAINS[_label(values)]
    row = {"query": values["query"], "entity": "product", "item_id": _id(values)}
    return [row | {"grade": grade, "judge": "esci"}]
