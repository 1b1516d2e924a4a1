"""A Google Merchant product feed (`google`): one TSV or CSV file, one product per line.

Column names may be spelled `image_link` or `image link`. A sale price takes precedence over the
price. Columns that products do not have, such as `condition`, are listed in the report.
"""

from __future__ import annotations

import re
from pathlib import Path

from omnisearch.data.importers.transaction import Report
from omnisearch.data.importers.translate import Values, take
from omnisearch.data.importers.value_checks import Refused
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.progress import Progress

FIELDS = {"image_link": "image", "color": "colours", "material": "materials", "pattern": "patterns"}
PRICES = ("sale_price", "price")
TYPES = ("product_type", "google_product_category")

_AMOUNT = r"""
      \d+ (?:[.,]\d{1,2})?              # 19   19.9   12,50
    | \d{1,3} (?:,\d{3})+ \.\d{1,2}     # 1,299.00
    | \d{1,3} (?:\.\d{3})+ ,\d{1,2}     # 1.299,00
"""
_PRICE = re.compile(rf"(?P<amount>{_AMOUNT})\s*(?P<currency>[A-Za-z]{{3}})?", re.VERBOSE | re.ASCII)


def import_google(
    workspace: Workspace, path: Path, progress: Progress | None = None
) -> list[Report]:
    """Import the products of a feed under the feed's own ids."""
    return [take(workspace, path, "products", _product, progress)]


def _product(values: Values) -> list[Values]:
    feed = {column.strip().lower().replace(" ", "_"): value for column, value in values.items()}
    row = {FIELDS.get(name, name): feed[name] for name in feed if name not in (*PRICES, *TYPES)}
    for field in ("colours", "materials", "patterns"):
        if row.get(field):
            row[field] = row[field].split("/")
    prices = [(name, (feed[name] or "").strip()) for name in PRICES if name in feed]
    if prices:
        name, text = next((given for given in prices if given[1]), prices[0])
        row["price"], row["currency"] = _price(text, name) if text else (None, None)
    paths = [_path(feed[name] or "") for name in TYPES if name in feed]
    if paths:
        row["product_types"] = next((path for path in paths if path), None)
    return [row]


def _price(text: str, field: str) -> tuple[float, str | None]:
    """(amount, currency) of a text such as '1,299.00 USD'.

    '1,299 USD' is refused: it may mean 1299 dollars or 1.299 dollars.
    """
    match = _PRICE.fullmatch(text)
    if match is None:
        raise Refused(field, "is not a price such as 19.99 USD", text)
    whole, _, decimals = match["amount"].replace(",", ".").rpartition(".")
    amount = f"{whole.replace('.', '')}.{decimals}" if whole else decimals
    return float(amount), match["currency"]


def _path(text: str) -> list[str]:
    """'Home > Kitchen' as ['Home', 'Kitchen']; a Google category number as []."""
    return [] if text.strip().isdigit() else [part for part in text.split(">") if part.strip()]
