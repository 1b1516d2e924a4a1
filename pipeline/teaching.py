"""The teacher: a cross-encoder that learns from judgments, and grades what nobody judged.

Its grades are the soft labels of the rankers and of the text encoder
(`data.catalogue.soft_labels`). It learns from no query that is measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import sqlite_utils

from omnisearch.data.catalogue.items import read_items
from omnisearch.data.catalogue.left_out import LeftOut, some
from omnisearch.data.catalogue.pairs import training_pairs
from omnisearch.data.catalogue.schema import ITEM_ENTITIES, get_meta
from omnisearch.data.catalogue.soft_labels import (
    TEACHER,
    TEACHER_FIELDS,
    add_grades,
    forget_others,
    graded,
    soft_labels,
    teacher_text,
)
from omnisearch.data.catalogue.splits import evaluation_queries, time_split
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import pointed, read_manifest, sweep, write_pointer
from omnisearch.data.workspace.counts import counted
from omnisearch.data.workspace.errors import NotReady
from omnisearch.data.workspace.files import new_folder
from omnisearch.data.workspace.progress import Progress
from omnisearch.encoders.cross_encoder import CrossEncoder, open_teacher
from omnisearch.encoders.onnx.export_teacher import export_teacher
from omnisearch.encoders.packaged import check_named
from omnisearch.encoders.text_encoder import NOTE as TEXT_NOTE
from omnisearch.encoders.training.teach import GradedPairs, teach
from omnisearch.engine.ranking import together
from omnisearch.engine.ranking_data import RankingOptions, labels_of
from omnisearch.engine.search import SearchEngine
from omnisearch.enrichment.inputs import hash_of
from omnisearch.enrichment.tuned_encoder import NOTE as TUNED_NOTE
from omnisearch.evaluation.judged import judged_gains, set_of, top_grades
from omnisearch.ranker.choice import loses
from omnisearch.ranker.lists import RankingData, informative_lists, ndcg

FEWEST = 50  # judged queries; from fewer a teacher learns these, and not what is relevant
MOST_QUERIES = 4_000  # to learn from
MOST_JUDGED, UNJUDGED = 40, 6  # items of a query that the teacher reads in training
HELD_OUT = 0.1  # of the judged queries, to measure by
DEPTH = 100  # first results of a query that unjudged ones are drawn from
MOST_TRAINED = 1_000  # queries of the encoders' training whose first results are graded
GRADED = 20  # first results of a query that are graded
_COMPARED = 500  # pairs that an export is compared on
_BATCH = 1024  # pairs graded between two commits

Item = tuple[str, str]  # entity, id
Judged = dict[str, dict[Item, float]]  # query → item → gain, from 0 to 1


def run(
    workspace: Workspace,
    db: sqlite_utils.Database,
    backbone: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a teacher, unless it learned from these judgments before, and grade; returns counts.

    The grades are kept as they are made, so that a killed run goes on where it was. A teacher that
    is no better than the order before it grades nothing, and an earlier one stays.
    """
    if backbone:
        check_named(backbone)  # before the judgments are read
    engine = SearchEngine.open(workspace, with_rankers=False)
    try:
        judged = _judged(db)
        engaged, known = labels_of(engine.snapshot, db, RankingOptions())
        unseen = {query for query, _, _ in known} & judged.keys()
        if len(unseen) < FEWEST:
            raise NotReady(
                f"There are judgments of {counted(len(unseen), 'query', 'queries')} neither kept "
                f"for evaluation nor for training encoders. A teacher takes {FEWEST:,} and more.",
                how="Import judgments, or have results judged: `omnisearch judge --help`.",
            )
        engine.warm(sorted(judged))
        backbone = backbone or _usual_backbone(db)
        teacher, name, figures = _teacher(workspace, db, engine, judged, unseen, backbone, progress)
        if not figures["better"]:
            return figures
        trained = _training_pairs(db)
        queries = sorted({query for query, _, _ in (*engaged, *known, *trained)})
        engine.warm(queries)
        shown = {(query, *item) for query in queries for item in _first(engine, query, GRADED)}
        pairs = sorted(shown | trained)
        count = _grade(workspace, db, teacher, name, pairs, progress)
    finally:
        engine.close()
    forget_others(workspace, name)
    return {
        **figures,
        "queries": len(queries),
        "pairs": len(pairs),
        "graded": count,
    }


def export(workspace: Workspace, db: sqlite_utils.Database) -> tuple[dict[str, Any], Path]:
    """Export the current teacher to re-rank, compared with PyTorch on pairs that it graded."""
    folder = pointed(workspace.current_teacher, TEACHER)
    if folder is None:
        raise NotReady("There is no teacher yet.", where=str(workspace.teachers), how=TEACHER.again)
    labels = sorted(soft_labels(workspace))
    pairs = labels[:: max(1, len(labels) // _COMPARED)]
    texts = _texts(db, {pair[1:] for pair in pairs})
    sample = [("", ""), ("a", "?"), *((pair[0], texts[pair[1:]]) for pair in pairs)]
    facts = export_teacher(workspace, open_teacher(folder), sample)
    return facts, workspace.reranker


def _judged(db: sqlite_utils.Database) -> Judged:
    """The judged queries that are not measured, at most MOST_QUERIES."""
    measured = evaluation_queries(db)
    gains = {query: items for query, items in judged_gains(db).items() if query not in measured}
    return {query: gains[query] for query in _drawn(gains, MOST_QUERIES)}


def _left_out(db: sqlite_utils.Database, judged: Judged, held_out: set[str]) -> list[LeftOut]:
    """The judgments that the teacher does not learn from."""
    queries = {query for (query,) in db.conn.execute("SELECT DISTINCT query FROM judgments")}
    free = queries - evaluation_queries(db)
    many = (len(items) for query, items in judged.items() if query not in held_out)
    return some(
        [
            LeftOut(len(queries) - len(free), "judged queries", "search is measured by them"),
            LeftOut(
                len(free) - len(judged),
                "judged queries",
                f"a teacher learns from {MOST_QUERIES:,} at most",
            ),
            LeftOut(len(held_out), "judged queries", "this teacher is measured by them"),
            LeftOut(
                sum(max(0, count - MOST_JUDGED) for count in many),
                "judged items",
                f"a teacher reads {MOST_JUDGED} of a query at most",
            ),
        ]
    )


def _usual_backbone(db: sqlite_utils.Database) -> str:
    """The encoder of the items' text, as it was before it was tuned; else MiniLM."""
    tuned = (get_meta(db, TUNED_NOTE) or {}).get("begin") or {}
    text = get_meta(db, TEXT_NOTE) or {}
    return str(tuned.get("backbone") or text.get("backbone") or "minilm")


def _training_pairs(db: sqlite_utils.Database) -> set[tuple[str, str, str]]:
    """What at most MOST_TRAINED of the queries that the encoders learn from led to."""
    tables = training_pairs(db, time_split(db), may_be_none=True)
    pairs = {
        (row["query"], row["entity"], row["item_id"])
        for name, table in tables.items()
        if name != "query"
        for row in table.select(["query", "entity", "item_id"]).to_pylist()
    }
    chosen = set(_drawn({query for query, _, _ in pairs}, MOST_TRAINED))
    return {pair for pair in pairs if pair[0] in chosen}


def _teacher(
    workspace: Workspace,
    db: sqlite_utils.Database,
    engine: SearchEngine,
    judged: Judged,
    unseen: set[str],
    backbone: str,
    progress: Progress | None,
) -> tuple[CrossEncoder, str, dict[str, Any]]:
    """The teacher of these judgments, the name of its folder, and its figures.

    It is measured on some of the `unseen` queries, whose judgments no encoder has learned from: on
    others the order before it would know the answers.
    """
    learned_from = hash_of(
        [backbone, [(query, sorted(items.items())) for query, items in sorted(judged.items())]]
    ).hex()
    folder = pointed(workspace.current_teacher, TEACHER)
    if folder is not None:
        facts = read_manifest(folder, TEACHER)
        if facts.get("learned_from") == learned_from:
            return open_teacher(folder), folder.name, facts["figures"]
    teacher = CrossEncoder(backbone)
    shown = {query: _shown(engine, query, items) for query, items in judged.items()}
    share = min(round(HELD_OUT * len(judged)), len(unseen) // 2)
    held_out = set(_drawn(unseen, share, salt=b"held out"))
    learned = {query: items for query, items in shown.items() if query not in held_out}
    texts = _texts(db, {item for items in learned.values() for item in items})
    teacher.prune([*map(normalise_query, learned), *texts.values()])
    teach(teacher, _pairs(learned, texts), progress)
    left_out = [asdict(each) for each in _left_out(db, judged, held_out)]
    figures: dict[str, Any] = {"learned_queries": len(learned), "left_out": left_out}
    figures |= _measured(teacher, db, engine, judged, sorted(held_out))
    name = learned_from[:16]
    if figures["better"]:
        with new_folder(workspace.teachers / name, replace=True) as unfinished:
            teacher.save(unfinished, {"learned_from": learned_from, "figures": figures})
        write_pointer(workspace.current_teacher, name)
        sweep(workspace.teachers, keep=[name])
    return teacher, name, figures


def _shown(engine: SearchEngine, query: str, judged: dict[Item, float]) -> dict[Item, float]:
    """What the teacher reads of a query: judged items, and unjudged ones as irrelevant.

    Judges see what search finds already. Of the rest most is irrelevant, and the teacher will meet
    it.
    """
    generator = np.random.default_rng(_number(query))
    items = sorted(judged)
    rows = generator.permutation(len(items))[:MOST_JUDGED]
    rest = [item for item in _first(engine, query, DEPTH) if item not in judged]
    others = generator.permutation(len(rest))[:UNJUDGED]
    return {items[row]: judged[items[row]] for row in rows} | {rest[row]: 0.0 for row in others}


def _measured(
    teacher: CrossEncoder,
    db: sqlite_utils.Database,
    engine: SearchEngine,
    judged: Judged,
    queries: list[str],
) -> dict[str, Any]:
    """nDCG@10 on held-out queries of the teacher, of the scores before it, and of both together.

    Among the judged of the first results, and among all of them; both are added up as when the
    teacher re-ranks. It is `better` if that helps by one measure, and does not lose by the first.
    """
    found = {query: engine.rank(query, "l1", 2 * GRADED) for query in queries}
    pairs = [(query, hit[:2]) for query, hits in found.items() for hit in hits]
    texts = _texts(db, {item for _, item in pairs})
    grades = teacher.grades([(query, texts[item]) for query, item in pairs])
    before = np.array([hit[2] for hits in found.values() for hit in hits], np.float32)
    sizes = [len(hits) for hits in found.values() if hits]
    starts = np.cumsum([0, *sizes[:-1]])
    both = [
        together(before[start : start + size], grades[start : start + size])
        for start, size in zip(starts, sizes, strict=True)
    ]
    gains = np.array([judged[query].get(item, np.nan) for query, item in pairs], np.float32)
    data = RankingData(
        X=np.column_stack([grades, before, np.concatenate(both)]),
        groups=np.repeat(np.arange(len(sizes)), sizes),
        engagement=np.full(len(pairs), np.nan, np.float32),
        relevance=np.nan_to_num(gains),
        judged=~np.isnan(gains),
    )
    figures: dict[str, Any] = {}
    helps, loses_by_judges = False, False
    for of, labelled in (("ndcg_judged", True), ("ndcg", False)):
        lists = informative_lists(data, "relevance", labelled=labelled)
        if not len(lists.sizes):
            continue
        alone, before_it, with_it = (ndcg(lists, lists.X[:, column]) for column in range(3))
        for name, values in (("", alone), ("_before", before_it), ("_both", with_it)):
            figures[of + name] = round(float(values.mean()), 4)
        helps |= bool(with_it.mean() > before_it.mean())
        loses_by_judges |= labelled and loses(with_it, before_it)
    return figures | {"better": helps and not loses_by_judges}


def _grade(
    workspace: Workspace,
    db: sqlite_utils.Database,
    teacher: CrossEncoder,
    name: str,
    pairs: Sequence[tuple[str, str, str]],
    progress: Progress | None,
) -> int:
    """Grade the pairs that were not graded with their present text; returns how many."""
    tops = top_grades(db)
    texts = _texts(db, {pair[1:] for pair in pairs})
    hashes = {item: hash_of(text) for item, text in texts.items()}
    before = graded(workspace, name)
    left = [pair for pair in pairs if before.get(pair) != hashes[pair[1:]]]
    for start in range(0, len(left), _BATCH):
        part = left[start : start + _BATCH]
        grades = teacher.grades([(pair[0], texts[pair[1:]]) for pair in part])
        units = [tops.get(set_of(pair[2]), max(tops.values(), default=1.0)) for pair in part]
        rows = zip(part, [hashes[pair[1:]] for pair in part], grades, units, strict=True)
        add_grades(workspace, name, rows)
        if progress:
            progress(start + len(part), len(left))
    return len(left)


def _texts(db: sqlite_utils.Database, items: Iterable[Item]) -> dict[Item, str]:
    """The texts of items; '' for those without text, or gone."""
    found = dict.fromkeys(items, "")
    for entity in ITEM_ENTITIES:
        ids = sorted(item_id for of, item_id in found if of == entity)
        for batch in read_items(db, entity, ids=ids, columns=TEACHER_FIELDS):
            found |= {(entity, item["id"]): teacher_text(item) for item in batch}
    return found


def _pairs(shown: Judged, texts: dict[Item, str]) -> GradedPairs:
    rows = [(query, item, gain) for query, items in shown.items() for item, gain in items.items()]
    return GradedPairs(
        [(query, texts[item]) for query, item, _ in rows],
        np.array([gain for _, _, gain in rows], np.float32),
    )


def _first(engine: SearchEngine, query: str, most: int) -> list[Item]:
    return [(entity, item_id) for entity, item_id, _ in engine.rank(query, "l1", most)]


def _drawn(queries: Iterable[str], most: int, salt: bytes = b"") -> list[str]:
    """At most so many of the queries, by their hashes: a longer log changes few of them."""
    return sorted(sorted(queries, key=lambda query: (_number(query, salt), query))[:most])


def _number(query: str, salt: bytes = b"") -> int:
    return int.from_bytes(hash_of([query], salt)[:8], "little")
