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

from omnisearch.pipeline.recipe import (
    build_index,
    default_enrichers,
    enrich,
    evaluate,
    import_files,
    rebuild_index,
    train,
    train_rankers,
    update_index,
)

__all__ = [
    "build_index",
    "default_enrichers",
    "enrich",
    "evaluate",
    "import_files",
    "rebuild_index",
    "train",
    "train_rankers",
    "update_index",
]
