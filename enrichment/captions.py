"""Machine captions of pictures by a BLIP model (§3.2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlite_utils
import torch
from transformers import AutoTokenizer, BlipForConditionalGeneration

from omnisearch.data.catalogue.schema import ITEM_ENTITIES, table_of
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.progress import Progress
from omnisearch.enrichment.image_jobs import HAS_IMAGE, Job, Tally, summary
from omnisearch.enrichment.inputs import stale_captions
from omnisearch.enrichment.pictures import require_pillow
from omnisearch.enrichment.vision_models import Cache, load_model, load_part, pixels

MAX_TOKENS = 30
BEAMS = 3


def caption_images(
    workspace: Workspace,
    db: sqlite_utils.Database,
    model: str | Path,
    images: Path | None = None,
    overwrite: bool = False,
    *,
    batch_size: int = 8,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write `caption` of the items that have a picture and no caption yet.

    Existing captions, imported or made before, are kept unless `overwrite` is set; those made of
    a picture that the item no longer shows are removed first. Each batch is
    one transaction and results are cached by the picture's sha256, so a killed run can be
    continued, and a picture is captioned once, however many items show it. Unreadable pictures are
    refused with a reason, in the counts and in `rejects/captions.jsonl`.

    Args:
        model: folder or hub name of a BlipForConditionalGeneration with tokenizer and image
            processor.
        images: the folder that relative `image` paths start from; URLs need none.

    Returns:
        Counts: captioned (items), computed (pictures the model saw), from_cache, refused; with
        refusals also reasons and rejects (the file).
    """
    require_pillow()
    network, processor, digest = load_model(BlipForConditionalGeneration, model)
    tokenizer = load_part(AutoTokenizer, model)

    def compute(batch: Sequence[Any]) -> list[bytes]:
        with torch.inference_mode():
            tokens = network.generate(
                pixel_values=pixels(processor, batch, network),
                max_new_tokens=MAX_TOKENS,
                num_beams=BEAMS,
                do_sample=False,
            )
        texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [" ".join(text.split()).encode() for text in texts]

    _remove_stale(db)
    wanted = HAS_IMAGE if overwrite else f"{HAS_IMAGE} AND (caption IS NULL OR caption = '')"
    cache = Cache(workspace, digest)
    job = Job(workspace, db, "captions", images, wanted, False, compute, cache, batch_size)
    tally, captioned = Tally(), 0
    try:
        for batch in job.run(tally, progress):
            with db.conn:
                for entity, item_id, ((image, caption),) in batch:
                    if caption:
                        captioned += db.conn.execute(
                            f"UPDATE {table_of(entity)} SET caption = ? WHERE id = ?",
                            [caption.decode(), item_id],
                        ).rowcount
                        db.conn.execute(
                            "INSERT OR REPLACE INTO machine_captions VALUES (?, ?, ?, ?)",
                            [entity, item_id, image, caption.decode()],
                        )
    finally:
        cache.close()
    return summary(job, tally, captioned=captioned)


def _remove_stale(db: sqlite_utils.Database) -> None:
    with db.conn:
        for entity in ITEM_ENTITIES:
            db.conn.executemany(
                f"UPDATE {table_of(entity)} SET caption = NULL WHERE id = ?",
                [[item_id] for item_id in stale_captions(db, entity)],
            )
