"""FEEDS: files of shop systems, with the system's own column names."""

from __future__ import annotations

from omnisearch.data.importers.importer import Feed, Importer
from omnisearch.data.workspace.registry import Registry

_VARIANT = "variantsku|variantprice|option1name|urlhandle"

FEEDS: Registry[Importer] = Registry(
    "feeds",
    [
        Feed(
            "shopify",
            "Shopify's product export, CSV",
            f"{__name__}.shopify:products",
            headers=("handle|urlhandle", "title", _VARIANT),
        ),
        Feed(
            "google-merchant",
            "a Google Merchant product feed, TSV, CSV or XML",
            f"{__name__}.google_merchant:products",
            headers=("id", "title", "imagelink", "price"),
        ),
        Feed(
            "woocommerce",
            "WooCommerce's product export, CSV",
            f"{__name__}.woocommerce:products",
            headers=("id|sku", "type", "name", "regularprice", "published|visibilityincatalog"),
        ),
        Feed(
            "ga4",
            "the events of Google Analytics 4, as exported to BigQuery, JSONL or Parquet",
            f"{__name__}.ga4:engagements",
            kind="engagements",
            headers=("eventname", "eventtimestamp"),
        ),
    ],
)
