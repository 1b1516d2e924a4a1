"""FEEDS: files of shop systems, with the system's own column names."""

from __future__ import annotations

from omnisearch.data.importers.importer import Feed, Importer
from omnisearch.data.workspace.registry import Registry

_VARIANT = "Variant SKU|Variant Price|Option1 Name|URL handle"

FEEDS: Registry[Importer] = Registry(
    "feeds",
    [
        Feed(
            "shopify",
            "Shopify's product export, CSV",
            f"{__name__}.shopify:products",
            headers=("Handle|URL handle", "Title", _VARIANT),
        ),
        Feed(
            "google-merchant",
            "a Google Merchant product feed, TSV, CSV or XML",
            f"{__name__}.google_merchant:products",
            headers=("id", "title", "image_link", "price"),
        ),
        Feed(
            "woocommerce",
            "WooCommerce's product export, CSV",
            f"{__name__}.woocommerce:products",
            headers=("ID|SKU", "Type", "Name", "Regular price", "Published|Visibility in catalog"),
        ),
        Feed(
            "ga4",
            "the events of Google Analytics 4, as exported to BigQuery, JSONL or Parquet",
            f"{__name__}.ga4:engagements",
            kind="engagements",
            headers=("event_name", "event_timestamp"),
        ),
    ],
)
