"""DATASETS: public data sets, each read from its publisher's folder."""

from __future__ import annotations

from omnisearch.data.importers.importer import Importer
from omnisearch.data.workspace.registry import Registry

DATASETS = Registry(
    "datasets",
    [
        Importer("esci", "Amazon's Shopping Queries sample", f"{__name__}.esci:import_esci"),
        Importer(
            "home_depot",
            "the Home Depot search relevance challenge",
            f"{__name__}.home_depot:import_home_depot",
        ),
        Importer("tate", "the Tate collection", f"{__name__}.tate:import_tate"),
        Importer("coco", "MS-COCO captions", f"{__name__}.coco:import_coco"),
        Importer("iconclass", "Iconclass keywords", f"{__name__}.iconclass:import_iconclass"),
        Importer("beir", "any data set in the BEIR layout", f"{__name__}.beir:import_beir"),
    ],
)
