"""The Home Depot search relevance challenge: `products.csv` and `judgments.csv`.

The grade is relevance - 1 (0 to 2). Engagement derived for training queries: a product of relevance
2.67 or more is saved (of 3, also put into the cart), one of 2.33 or more is clicked.
"""

from __future__ import annotations

from pathlib import Path

from omnisearch.data.importers.datasets.labels import Splits, derived, note_derived, texts_in
from omnisearch.data.importers.transaction import Report
from omnisearch.data.importers.translate import Values, file_of, once, take
from omnisearch.data.importers.value_checks import Refused, number
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.progress import Progress


def import_home_depot(
    workspace: Workspace, folder: Path, progress: Progress | None = None
) -> list[Report]:
    """Import products, queries, judgments and derived engagement; ids become 'hd:<uid>'."""
    products = file_of(folder, "products.csv")
    labels = file_of(folder, "judgments.csv")
    splits = Splits(workspace, texts_in(labels, "search_term"))
    note_derived(workspace, "home_depot")

    def query(values: Values) -> list[Values]:
        text = values["search_term"]
        return [{"text": text, "language": "en", "country": "US", "split": splits.of(text)}]

    def engagement(values: Values) -> list[Values]:
        text = values["search_term"]
        if splits.of(text) != "train":
            return []
        actions = derived_actions(_relevance(values))
        return [derived(text, _id(values), "product", action) for action in actions]

    return [
        take(workspace, products, "products", _product, progress),
        take(workspace, labels, "queries", once("text", query), progress),
        take(workspace, labels, "judgments", _judgment, progress),
        take(workspace, labels, "engagements", engagement, progress),
    ]


def derived_actions(relevance: float) -> tuple[str, ...]:
    """The actions derived from a relevance of 1 to 3."""
    if relevance >= 2.67:
        return ("save", "add_to_cart") if relevance >= 3 else ("save",)
    return ("click",) if relevance >= 2.33 else ()


def _id(values: Values) -> str:
    if not values["product_uid"]:
        raise Refused("product_uid", "is missing")
    return f"hd:{values['product_uid']}"


def _relevance(values: Values) -> float:
    relevance = number(values["relevance"], "relevance", 1, 3)
    if relevance is None:
        raise Refused("relevance", "is missing")
    return relevance


def _product(values: Values) -> list[Values]:
    return [
        {
            "id": _id(values),
            "title": values["product_title"],
            "language": "en",
            "country": "US",
        }
    ]


def _judgment(values: Values) -> list[Values]:
    grade = round(_relevance(values) - 1, 4)
    row = {"query": values["search_term"], "entity": "product", "item_id": _id(values)}
    return [row | {"grade": grade, "judge": "home_depot"}]
