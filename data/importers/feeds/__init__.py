"""FEEDS: files of shop systems, with the system's own column names."""

from __future__ import annotations

from omnisearch.data.importers.importer import Importer
from omnisearch.data.workspace.registry import Registry

FEEDS = Registry(
    "feeds",
    [
        Importer("google", "a Google Merchant product feed", f"{__name__}.google:import_google"),
    ],
)
