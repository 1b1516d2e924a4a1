"""A text encoder tuned to the items' own texts and to the log, to embed the items by.

Of an item's own texts the title stands for a query that leads to it (`encoders.training.tune`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlite_utils

from omnisearch.data.catalogue.left_out import LeftOut, some
from omnisearch.data.catalogue.log_left_out import training_left_out
from omnisearch.data.catalogue.schema import get_meta, set_meta
from omnisearch.data.catalogue.splits import time_split
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import sweep, write_manifest
from omnisearch.data.workspace.counts import counted
from omnisearch.data.workspace.errors import NotReady
from omnisearch.data.workspace.files import new_folder
from omnisearch.data.workspace.progress import Progress
from omnisearch.encoders.form import write_form
from omnisearch.encoders.models.query import write_backbone
from omnisearch.encoders.packaged import MINILM
from omnisearch.encoders.text_encoder import (
    MAX_TOKENS,
    TUNED,
    TUNED_PREFIX,
    TextTower,
    encoder_folder,
    weights_digest,
)
from omnisearch.encoders.text_encoder import (
    NOTE as TEXT_NOTE,
)
from omnisearch.encoders.training.tune import (
    GradedLists,
    TextPairs,
    distil,
    mean_reciprocal_rank,
    tune,
)
from omnisearch.enrichment.text import embed_texts, fitting_encoders, usual_encoder
from omnisearch.enrichment.tuning_pairs import (
    every_text,
    has_own_pairs,
    own_pairs,
    read_log,
    steps_left,
    taught,
    with_texts,
)
from omnisearch.enrichment.word_weight import NOTE as WORD_WEIGHT
from omnisearch.enrichment.word_weight import word_weight

NOTE = "tuned_encoder"  # key in the catalogue's meta table
FEWEST = 500  # pairs; from fewer an encoder learns these queries, and forgets others

Lesson = tuple[str, str, TextPairs | GradedLists]  # names of its size and of what is after it


def when_of_use(db: sqlite_utils.Database) -> dict[str, Any] | None:
    """Arguments for `tune_encoder`; None without an encoder, after a tuning, or with few pairs.

    A log that has grown tunes the encoder again if only the items' own texts have tuned it.
    """
    note = get_meta(db, NOTE)
    if usual_encoder(db) is None or (note and not note.get("own_texts")):
        return None
    if len(read_log(db).learned) < FEWEST and (note or not has_own_pairs(db, FEWEST)):
        return None
    return {}


def tune_encoder(
    workspace: Workspace,
    db: sqlite_utils.Database,
    backbone: str | None = None,
    pooling: str | None = None,
    max_tokens: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Tune a pretrained encoder to the log, and embed all items with it if it became better.

    It learns that a title leads to its item's other texts; then from what `omnisearch train` learns
    from, without the pairs that validate that training; then from the grades of a teacher for the
    same queries, if there is one. Each must make it find the items of the validating pairs better,
    else it is as if it had not been. With a log of fewer than FEWEST pairs it learns from the own
    texts alone, and a tenth of them measures. `progress` counts steps, from 0 for each of these,
    and from 0 again the items embedded.

    Args:
        backbone, pooling, max_tokens: as for `embed_texts`. Tuning begins with this encoder, by
            default with that of the last tuning, else of the items' text, else with the one of
            `fitting_encoders` that finds the pairs best as it is; what is not given is that
            encoder's.

    Returns:
        Counts: of several encoders that fit the mean reciprocal rank of each; pairs, the mean
        reciprocal rank before and after each lesson, and those of `embed_texts`; `word_weight`,
        if the starter ranker is to have another; and what was `left_out` of the log, and why.

    Raises:
        InputError: the encoder does not exist.
        NotReady: the log has fewer than FEWEST pairs, and so few items have two texts.
    """
    if backbone is not None:
        encoder_folder(workspace, backbone)  # a wrong name is told before the log is read
    begin: dict[str, Any] = {"backbone": None, "pooling": None, "max_tokens": MAX_TOKENS}
    if backbone is None:
        embedded = usual_encoder(db) if get_meta(db, TEXT_NOTE) else None
        begin |= (get_meta(db, NOTE) or {}).get("begin") or embedded or {}
    given = {"backbone": backbone, "pooling": pooling, "max_tokens": max_tokens}
    begin |= {name: value for name, value in given.items() if value is not None}
    log = read_log(db)
    own_texts = len(log.learned) < FEWEST
    own = own_pairs(db, 0 if own_texts else len(log.learned))
    learned, held_out, others = own if own_texts else with_texts(db, log)
    if own_texts and len(learned) + len(held_out) < FEWEST:
        raise NotReady(
            f"The log has {counted(len(log.learned), 'pair')} of a query and an item that it led "
            f"to, and fewer than {FEWEST:,} items have a title and another text. To tune an "
            f"encoder takes {FEWEST:,} of either.",
            how="Import more engagements, or use the encoder as it is: `omnisearch enrich text`.",
        )
    names = [begin["backbone"]] if begin["backbone"] else fitting_encoders(db) or [MINILM]
    names = names[:1] if own_texts else names  # what people search for decides between encoders
    measured, before = {}, -1.0
    for name in names:
        each = TextTower(
            encoder_folder(workspace, name), begin["max_tokens"], pooling=begin["pooling"]
        )
        measured[name] = mean_reciprocal_rank(each, held_out, others) if len(held_out) else 0.0
        if measured[name] > before:
            tower, before, begin["backbone"] = each, measured[name], name
    counts: dict[str, Any] = {f"mrr_{name}": round(value, 3) for name, value in measured.items()}
    counts = counts if len(names) > 1 else {}
    counts |= {"pairs": len(learned), "mrr_before": round(before, 3)}
    if own_texts:
        few = f"fewer than {FEWEST:,}; titles and the items' other texts are learned from"
        unused = [LeftOut(len(log.learned), "pairs", few)]
    else:
        unused = [LeftOut(len(log.learned) - len(learned), "pairs", "their item has no text")]
    left_out = training_left_out(db, time_split(db)) + some([*log.left_out, *unused])
    tower.prune(every_text(db, learned))
    lessons: list[Lesson] = [("pairs", "mrr_after", learned)]
    if len(held_out):  # which tell whether the others help
        lessons.append(("taught_queries", "mrr_taught", taught(workspace, db, log)))
        if not own_texts and min(len(own[0]), steps_left(len(log.learned))) >= FEWEST:
            lessons.insert(0, ("own_texts", "mrr_own_texts", own[0]))
    after, found = _after(lessons, tower, held_out, others, before, progress)
    counts |= found
    weight = word_weight(tower, *own[1:])
    if weight is not None:
        counts["word_weight"] = weight
    name = ""
    if after > before:
        name = _write(workspace, tower)
        counts |= embed_texts(workspace, db, name, None, tower.max_tokens, progress)
    elif get_meta(db, TEXT_NOTE) is None:
        counts |= embed_texts(workspace, db, **begin, progress=progress)
    with db.conn:
        set_meta(db, WORD_WEIGHT, weight)
        set_meta(db, NOTE, {"begin": begin} | ({"own_texts": True} if own_texts else {}))
    if name:
        sweep(workspace.text_encoders, keep=[name])
    return counts | {"left_out": [asdict(each) for each in left_out]}


def _after(
    lessons: Sequence[Lesson],
    tower: TextTower,
    held_out: TextPairs,
    others: Sequence[list[str]],
    before: float,
    progress: Progress | None,
) -> tuple[float, dict[str, Any]]:
    """Let the tower learn; a lesson after which it finds `held_out` no better is undone.

    Returns the mean reciprocal rank in the end, and that after each lesson with its size.
    """
    counts: dict[str, Any] = {}
    for size, result, material in lessons:
        if not len(material):
            continue
        state = {name: weights.clone() for name, weights in tower.model.state_dict().items()}
        if isinstance(material, GradedLists):
            distil(tower, material, progress)
        else:
            tune(tower, material, progress)
        found = mean_reciprocal_rank(tower, held_out, others) if len(held_out) else 1.0
        counts |= {size: len(material), result: round(found, 3)}
        if found <= before:
            tower.model.load_state_dict(state)
        before = max(before, found)
    return before, counts


def _write(workspace: Workspace, tower: TextTower) -> str:
    """Write the encoder; returns its name."""
    name = f"{TUNED_PREFIX}{weights_digest(tower.model)[:16]}"
    folder = workspace.text_encoders / name
    if not folder.exists():
        with new_folder(folder) as unfinished:
            tower.model.save_pretrained(unfinished)  # type: ignore[union-attr, operator]
            write_backbone(unfinished, tower.model, tower.tokeniser.hub_tokeniser)
            write_form(unfinished, tower.form)
            write_manifest(unfinished, TUNED)
    return name
