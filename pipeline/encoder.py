"""Which encoder an index is built with: the trained one; a text encoder, untrained; or none."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING

from omnisearch.data.catalogue.items import field_texts, read_items
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, TEXT_FIELDS, get_meta
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.counts import counted
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.progress import Progress
from omnisearch.data.workspace.settings import load_section
from omnisearch.encoders.no_encoder import NONE, NoEncoder
from omnisearch.encoders.packaged import E5, MINILM, installed
from omnisearch.encoders.untrained import is_untrained

if TYPE_CHECKING:
    import sqlite_utils

    from omnisearch.encoders.encoder import Encoder
    from omnisearch.indexer.signals import ItemsAndQueries

Tell = Callable[[str], None]
DEFAULT = "default"  # the checkpoint that an index is built with unless told otherwise
TEXT_ENCODER = "text_encoder"  # `encoders.text_encoder.NOTE`, whose module imports torch
_ASKED = 64  # queries that are timed
# A step of a training and of its warm start take as long as to encode so many times its queries,
# once: MiniLM, 5,000 products, one processor.
_STEP, _WARM_STEP = 2.0, 0.13
_NO_TEXT_ENCODER = (
    "For embeddings install a text encoder, the extra `minilm` (English) or `multilingual`, and "
    "run `omnisearch index build` again."
)
_OTHER_LANGUAGES = (
    "Most items are not in English: for embeddings install the extra `multilingual` and run "
    "`omnisearch index build` again."
)
_IMPORTED = (
    "Their vectors `text` were imported, and the encoder of queries that belongs to them is not "
    "known: for embeddings run `omnisearch train`, or `omnisearch enrich text` to replace them."
)
_NO_WORDS = (
    "This index finds items by their ids and codes alone, because no item has text: import titles, "
    "descriptions or captions (`omnisearch import FILE --map title=COLUMN`)."
)


def encoder_for(
    workspace: Workspace,
    db: sqlite_utils.Database,
    name: str,
    progress: Progress | None,
    tell: Tell,
) -> ItemsAndQueries:
    """The encoder of the checkpoint `name`; before the first training what there is instead.

    That is, for the default name, an untrained checkpoint if a text encoder is on this machine: it
    embeds the items' texts first, unless it has before. Without one it is `NoEncoder`. `tell` gets
    a sentence on what was done, and on what training or a text encoder would add.

    Raises:
        NotReady: there is no checkpoint of another name, the one of an earlier index is gone, or
            the first training is running.
        Corrupt: the checkpoint is damaged.
    """
    best = workspace.best_checkpoint(name).exists()
    if name == DEFAULT and (is_untrained(workspace, name) if best else not _was_encoded(workspace)):
        missing = _write_untrained(workspace, db, progress, tell)
        if missing and not best:
            alone = f"This index finds items by their words alone. {missing}"
            tell(alone if _have_words(db) else _NO_WORDS)
            return NoEncoder()
    from omnisearch.encoders.checkpoint import load_encoder

    encoder = load_encoder(workspace, name)
    if is_untrained(workspace, name):
        tell(_untrained(workspace, db, encoder))
    return encoder


def _have_words(db: sqlite_utils.Database) -> bool:
    """Whether an item has any text."""
    batches = (read_items(db, entity, columns=TEXT_FIELDS) for entity in ITEM_ENTITIES)
    return any(field_texts(item) for items in chain.from_iterable(batches) for item in items)


def _was_encoded(workspace: Workspace) -> bool:
    """Whether an index was built with an encoder here."""
    return any(folder.name != NONE for folder in workspace.signals.glob("[!.]*"))


def _write_untrained(
    workspace: Workspace, db: sqlite_utils.Database, progress: Progress | None, tell: Tell
) -> str:
    """Publish the untrained checkpoint if it can be; returns what is missing for it."""
    if get_meta(db, TEXT_ENCODER) is None and not any(map(installed, (MINILM, E5))):
        return _NO_TEXT_ENCODER
    from omnisearch.encoders.training.untrained import write_untrained
    from omnisearch.enrichment.text import embed_texts, usual_encoder

    try:
        if get_meta(db, TEXT_ENCODER) is None:
            if db.execute("SELECT 1 FROM item_vectors WHERE name = 'text'").fetchone():
                return _IMPORTED
            if usual_encoder(db) is None:
                return _OTHER_LANGUAGES
            began = time.monotonic()
            counts = embed_texts(workspace, db, progress=progress)
            tell(
                f"Embedded the texts of {counted(counts['items'], 'item')} by "
                f"{counts['encoder']}: "
                f"{time.monotonic() - began:.1f} s."
            )
        write_untrained(workspace, db, DEFAULT)
    except InputError as error:
        return f"Embeddings could not be made: {error}"
    return ""


def _untrained(workspace: Workspace, db: sqlite_utils.Database, encoder: Encoder) -> str:
    """What training would add, and how long it would take."""
    (engagements,) = db.execute(
        "SELECT COUNT(*) FROM engagements WHERE action <> 'impression'"
    ).fetchone()
    adds = (
        f"learn from {counted(engagements, 'engagement')} of the log what people mean"
        if engagements
        else "fit them to the words of these items, and to a log once there is one"
    )
    minutes = max(1, round(_training_seconds(workspace, db, encoder) / 60))
    about = "a minute" if minutes == 1 else f"{minutes:,} minutes"
    return (
        "The embeddings are the text encoder's own. `omnisearch train`, "
        f"about {about} here, would {adds}."
    )


def _training_seconds(workspace: Workspace, db: sqlite_utils.Database, encoder: Encoder) -> float:
    """An estimate, from the time that some queries take here."""
    from omnisearch.encoders.config import preset_config
    from omnisearch.encoders.training.warm_start import warm_config

    preset = load_section("train", preset_config("demo"), workspace.settings, {})
    config = warm_config(db, preset)
    asked = [f"boho bedroom lamp {number}" for number in range(_ASKED)]
    encoder.queries(asked)
    began = time.monotonic()
    encoder.queries(asked)
    seconds = (time.monotonic() - began) / _ASKED
    return seconds * config.batch_pairs * (_STEP * config.steps + _WARM_STEP * config.warm_steps)
