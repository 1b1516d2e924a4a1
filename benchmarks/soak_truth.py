"""The counterpart of `soak.py`: publishes generations and computes their answers in process.

Everything here runs in a separate process. A question is a request with the equivalent call of the
engine; `said` makes a digest of either's answer, equal only if the answers are.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from load import asked, get, post
from threadpoolctl import threadpool_limits

from omnisearch import pipeline
from omnisearch.data.catalogue.items import head_queries
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.engine.filters import Filters
from omnisearch.engine.search import SearchEngine
from omnisearch.engine.similar import similar_items
from omnisearch.evaluation.experiments import store
from omnisearch.evaluation.experiments.assignment import user_hash, variant_of
from omnisearch.evaluation.experiments.definition import Experiment, Variant

MARK = " soak "  # followed by the round's number, at the end of a changed title
_LEFT_OUT = ("took_ms", "request_id", "cached", "stages", "image", "generation", "experiment")
TRIAL = Experiment("trial", (Variant("control"), Variant("words", system="token")))


@dataclass(frozen=True)
class Question:
    """One request.

    Attributes:
        kind: 'search', 'experiment', 'embed', 'batch', 'related' or 'similar'.
        request: its bytes. text, options: arguments of the engine.
    """

    kind: str
    request: bytes
    text: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Truth:
    """The answers of one generation.

    Attributes:
        generation: its number. published: when, in seconds since 1970.
        answers: a digest for each question number.
        titles: (entity, id) → title, for all items ever changed.
        seconds: duration of publishing and computing the answers.
    """

    generation: int
    published: float
    answers: list[str]
    titles: dict[tuple[str, str], str]
    seconds: tuple[float, float]


def begin() -> None:
    """Run at low priority, summing as the workers do: scores must agree to the last digit."""
    os.nice(10)
    threadpool_limits(1, user_api="blas")


def questions(workspace: Path, most: int) -> list[Question]:
    """For the log's head queries: several kinds of searches, also of users in an experiment, which
    is started here; embeddings, related queries; and similar items of their results."""
    space = Workspace(workspace)
    store.create(space, TRIAL)
    store.start(space, TRIAL.name)
    key = store.key_of(space)
    assert key is not None
    engine = SearchEngine.open(workspace)
    db = open_catalogue(Workspace(workspace).catalogue)
    texts = head_queries(db, most)
    db.conn.close()
    engine.warm(texts)
    found: list[Question] = []
    for turn, text in enumerate(texts):
        variants: tuple[dict[str, Any], ...] = (
            {"k": 20},
            {"k": 10, "page": 2},
            {"k": 10, "entity": "product", "price_max": 100.0},
            {"k": 10, "system": "token"},
            {"k": 10, "system": "embedding"},
        )
        options = variants[0] if turn % 2 else variants[turn // 2 % len(variants)]
        path = asked("/v1/search", text, **options)
        found.append(Question("search", get(path), text, options))
        if turn % 4 == 2:
            variant = variant_of(TRIAL, 100, user_hash(f"user-{turn}", key))
            assert variant is not None
            path = asked("/v1/search", text, user=f"user-{turn}")
            found.append(Question("experiment", get(path), text, {"system": variant.system}))
        if turn % 4 == 0:
            found.append(Question("embed", get(asked("/v1/embed", text)), text))
            found.append(Question("related", get(asked("/v1/related", text, k=8)), text))
        if turn % 4 == 1:
            hit = engine.search(text, k=1).hits[0]
            options = {"entity": hit.entity, "id": hit.id}
            path = f"/v1/similar?entity={hit.entity}&id={hit.id}&k=10"
            found.append(Question("similar", get(path), "", options))
    lines = "\n".join(texts)
    batch = post("/v1/embed", lines.encode(), "text/plain", "application/octet-stream")
    found.append(Question("batch", batch, lines))
    engine.close()
    return found


def answer_of(engine: SearchEngine, question: Question) -> Any:
    """The engine's in-process answer, in the service's format."""
    snapshot, text = engine.snapshot, question.text
    if question.kind in ("search", "experiment"):
        options = dict(question.options)
        names = {"entity": options.pop("entity", None), "price_max": options.pop("price_max", None)}
        return asdict(engine.search(text, filters=Filters(**names), **options))
    if question.kind == "batch":
        rows = engine.cache.vectors(snapshot.encoder, text.split("\n"))
        return rows.astype("<f2").tobytes()
    if question.kind == "similar":
        wanted = question.options
        hits = similar_items(snapshot, wanted["entity"], wanted["id"], 10, engine.config)
        return {**wanted, "hits": [asdict(hit) for hit in hits]}
    if question.kind == "embed":
        vector = engine.cache.vector(snapshot.encoder, text)[0]
        checkpoint = snapshot.encoder.checkpoint
        return {"query": text, "checkpoint": checkpoint, "dim": len(vector), "embedding": vector}
    query = snapshot.query(text)
    query = query.with_vector(engine.cache.vector(snapshot.encoder, query.text)[0])
    related = engine.at(snapshot).related(query, 8)
    return {"query": text, "related": [asdict(each) for each in related], "degraded": []}


def said(answer: Any) -> str:
    """A digest of the parts of an answer that must agree: a dict without `_LEFT_OUT`."""
    if not isinstance(answer, bytes):
        read = orjson.loads(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY))
        kept = {name: value for name, value in read.items() if name not in _LEFT_OUT}
        for hit in kept.get("hits", ()):
            hit.pop("image")
        answer = orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)
    return blake2b(answer, digest_size=12).hexdigest()


def truth(
    workspace: Path, asked: Sequence[Question], changed: dict[tuple[str, str], str], spent: float
) -> Truth:
    """The live generation's answers; `changed` has all items ever changed."""
    start, published = time.perf_counter(), time.time()
    engine = SearchEngine.open(workspace)
    answers = [said(answer_of(engine, question)) for question in asked]
    tables = engine.snapshot.generation.tables
    titles = {
        (entity, key): tables[entity].display([tables[entity].row_of[key]])[0].get("title", "")
        for entity, key in changed
    }
    number = engine.generation
    engine.close()
    return Truth(number, published, answers, titles, (spent, time.perf_counter() - start))


def publish(
    workspace: Path,
    asked: Sequence[Question],
    changed: dict[tuple[str, str], str],
    round_number: int,
    anew: bool,
) -> tuple[Truth, dict[tuple[str, str], str]]:
    """Rename items in the results, publish, and compute the new generation's answers.

    Args:
        changed: (entity, id) → the title before any change; this round's items are added.
        anew: rebuild everything instead of updating.
    """
    start = time.perf_counter()
    space = Workspace(workspace)
    changed = dict(changed)
    engine = SearchEngine.open(workspace)
    chosen: dict[tuple[str, str], str] = {}
    some = np.random.default_rng(round_number).permutation(len(asked))
    for question in [asked[at] for at in some if asked[at].kind == "search"][:40]:
        for hit in engine.search(question.text, k=3).hits:
            chosen[hit.entity, hit.id] = hit.title
    engine.close()
    db = open_catalogue(space.catalogue)
    with db.conn:
        for (entity, key), title in chosen.items():
            base = changed.setdefault((entity, key), title)
            db.conn.execute(
                f"UPDATE {entity}s SET title = ? WHERE id = ?",
                [f"{base}{MARK}{round_number}", key],
            )
    db.conn.close()
    (pipeline.rebuild_index if anew else pipeline.update_index)(space)
    return truth(workspace, asked, changed, time.perf_counter() - start), changed
