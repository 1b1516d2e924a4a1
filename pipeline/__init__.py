"""The whole recipe in Python: what the commands, the demo, the benchmarks and the tests call.

from omnisearch import SearchEngine, Workspace, pipeline

workspace = Workspace.create("shop")
pipeline.import_files(workspace, ["products.csv"])
pipeline.enrich(workspace)
pipeline.train(workspace)
pipeline.build_index(workspace)
pipeline.train_rankers(workspace)
SearchEngine.open(workspace).search("boho bedroom")
"""

from omnisearch.pipeline.importing import import_files
from omnisearch.pipeline.recipe import (
    build_index,
    default_enrichers,
    enrich,
    evaluate,
    export_teacher,
    rebuild_index,
    teach,
    train,
    train_ads,
    train_rankers,
    update_index,
)
from omnisearch.pipeline.refreshing import refresh
from omnisearch.pipeline.watching import watch

__all__ = [
    "build_index",
    "default_enrichers",
    "enrich",
    "evaluate",
    "export_teacher",
    "import_files",
    "rebuild_index",
    "refresh",
    "teach",
    "train",
    "train_ads",
    "train_rankers",
    "update_index",
    "watch",
]
