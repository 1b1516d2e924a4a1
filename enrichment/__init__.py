"""What is added to items after an import (§3.2, §3.3), and the registry of these steps.

A new enricher is one module here and one line in ENRICHERS. A plug-in registers an entry of its
own (see `data.workspace.registry`), and `omnisearch enrich NAME` runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omnisearch.data.workspace.registry import Registry, load_function

if TYPE_CHECKING:
    import sqlite_utils

    from omnisearch.data.workspace import Workspace
    from omnisearch.data.workspace.progress import Progress


@dataclass(frozen=True)
class Enricher:
    """A step of enrichment. Functions are given as "module:function" and imported when they run.

    Attributes:
        name: as in `omnisearch enrich NAME`.
        about: its line of help.
        function: called as (workspace, db, progress=None, **options), returns counts by name. A
            true `train_again` among them says that it replaced vectors that the encoders were
            trained with.
        by_default: whether `omnisearch enrich` without a name runs it.
        usual_options: called as (db), returns the options of that run, or None to skip the step;
            without it the step runs without options.
    """

    name: str
    about: str
    function: str
    by_default: bool = False
    usual_options: str | None = None

    def run(
        self,
        workspace: Workspace,
        db: sqlite_utils.Database,
        progress: Progress | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Run it; returns its counts. Raises InputError if its function cannot be imported."""
        return self._load(self.function)(workspace, db, progress=progress, **options)

    def default_options(self, db: sqlite_utils.Database) -> dict[str, Any] | None:
        """The options with which `omnisearch enrich` runs it, None if it is skipped."""
        if not self.by_default:
            return None
        return self._load(self.usual_options)(db) if self.usual_options else {}

    def _load(self, function: str) -> Callable[..., Any]:
        return load_function(function, f"enricher {self.name!r}")


# In the order in which they run by default: the graph networks read engaged queries and 'text'.
ENRICHERS: Registry[Enricher] = Registry(
    "enrichers",
    [
        Enricher(
            "boards",
            "The titles of the boards that each item is saved to, the 10 best (§3.2.2).",
            "omnisearch.enrichment.boards:enrich_boards",
            by_default=True,
        ),
        Enricher(
            "queries",
            "The queries that led people to each item, the 20 best (§3.2.3).",
            "omnisearch.enrichment.engaged_queries:enrich_queries",
            by_default=True,
        ),
        Enricher(
            "captions",
            "Captions of the pictures, written by a BLIP model (§3.2.1); resumable.",
            "omnisearch.enrichment.captions:caption_images",
        ),
        Enricher(
            "images",
            "Image embeddings by any vision model, as the feature `image`.",
            "omnisearch.enrichment.images:embed_images",
        ),
        Enricher(
            "tune",
            "Tune the text encoder to the log, or to the items' own texts, and embed all items.",
            "omnisearch.enrichment.tuned_encoder:tune_encoder",
            by_default=True,
            usual_options="omnisearch.enrichment.tuned_encoder:when_of_use",
        ),
        Enricher(
            "text",
            "Text embeddings by a pretrained encoder, which training then starts from.",
            "omnisearch.enrichment.text:embed_texts",
            by_default=True,
            usual_options="omnisearch.enrichment.text:usual_encoder",
        ),
        Enricher(
            "graph",
            "PinSage and ItemSage embeddings, if there are none to import: trained once, then "
            "saved.",
            "omnisearch.enrichment.graph.embeddings:embed_graph",
            by_default=True,
        ),
    ],
)
