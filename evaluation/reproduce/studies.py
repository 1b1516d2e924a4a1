"""§5.1 and §5.4 on the sample world, with simulated judges and taxonomy labels.

On your own workspace, judges are people (`omnisearch judge`) and labels come from a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from omnisearch.data.catalogue.schema import TEXT_FIELDS, open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.files import new_folder, write_atomic
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.encoders.config import preset_config
from omnisearch.encoders.no_encoder import NoEncoder
from omnisearch.encoders.training.run import train as train_model
from omnisearch.engine.search import SearchEngine
from omnisearch.evaluation.classification.labels import Labels, labels_of, read_labels
from omnisearch.evaluation.classification.render import markdown as classification_markdown
from omnisearch.evaluation.classification.study import classification_report
from omnisearch.evaluation.judging.answers import open_log
from omnisearch.evaluation.judging.draw import DrawOptions, Systems, draw
from omnisearch.evaluation.judging.findings import JudgingReport, report
from omnisearch.evaluation.judging.folder import Judging
from omnisearch.evaluation.judging.markdown import markdown as judging_markdown
from omnisearch.evaluation.reproduce.base import (
    WORLD_SEED,
    base_workspace,
    copy_workspace,
    hide_fields,
)
from omnisearch.evaluation.reproduce.reproduce import OnRun, Reproduce
from omnisearch.evaluation.reproduce.runs import Run
from omnisearch.evaluation.reproduce.spec import Study
from omnisearch.indexer.build import build
from omnisearch.world.judges import JUDGES, grade_by
from omnisearch.world.truth import Truth

Made = tuple[str, Any]  # Markdown, and plain values
PAPER_RELEVANCE, PAPER_AGREEMENT = 0.10, 0.89  # §5.1: gain; agreement of three judges
ENRICHED = ("caption", "board_titles", "engaged_queries")  # what token search may do without
# What token search reads, and from which of the world's grades a result is relevant.
ALL_TEXT, NATIVE = "all text", "native text"
THRESHOLDS = {"all of the query": 3, "most of it": 2}


@dataclass(frozen=True)
class Relevance:
    """One way to ask what embedding search gains.

    Attributes:
        reads: what token search reads. meets: what of the query a relevant result meets.
        reports: of each seed.
    """

    reads: str
    meets: str
    reports: list[JudgingReport]


class _Words:
    """An engine whose token search is that of another."""

    def __init__(self, engine: SearchEngine, words: SearchEngine) -> None:
        self._engine, self._words = engine, words
        self.snapshot, self.warm = engine.snapshot, engine.warm

    def rank(self, query: str, system: str, k: int) -> list[tuple[str, str, float]]:
        return (self._words if system == "token" else self._engine).rank(query, system, k)


def reproduce_relevance(study: Study, options: Reproduce, on_run: OnRun | None = None) -> Made:
    """The judged relevance of two systems, once for each training seed, as Markdown: with token
    search over all text and over native text alone, and by two thresholds of relevance.

    Writes `relevance.md` and `relevance.json` into the folder.

    Raises:
        InputError: a workspace was given, which has no simulated judges.
    """
    if options.source is not None:
        raise InputError(
            "Only the sample world has simulated judges.",
            where=str(options.source.root),
            how="Let people judge: `omnisearch judge draw NAME`.",
        )
    base = base_workspace(options.folder, None, study.pins)
    truth, native = Truth.of(study.pins, WORLD_SEED), _of_native_text(base, options)
    ways = [Relevance(reads, meets, []) for reads in (ALL_TEXT, NATIVE) for meets in THRESHOLDS]
    for seed in range(options.seeds):
        on_step = on_run(seed + 1, options.seeds, f"seed {seed}") if on_run else None
        workspace = trained(base, study, options, seed, on_step)
        with (
            closing(SearchEngine.open(workspace)) as engine,
            closing(SearchEngine.open(native)) as words,
        ):
            for way in ways:
                asked: Systems = engine if way.reads == ALL_TEXT else _Words(engine, words)
                way.reports.append(_judged(workspace, study, truth, seed, way, asked))
    lines = [f"# {study.title}", "", *_relevance_lines(ways)]
    for way in ways:
        for seed, made in enumerate(way.reports):
            heading = f"## Token search over {way.reads}, relevant: {way.meets}, seed {seed}"
            lines += ["", heading, "", judging_markdown(made).replace("\n#", "\n###")]
    text = "\n".join(lines) + "\n"
    return written(options.folder, "relevance", text, [asdict(way) for way in ways])


def _of_native_text(base: Workspace, options: Reproduce) -> Workspace:
    """A copy of the base, made once, whose token index lacks what enrichment adds."""
    folder = options.folder / "studies" / "native-text"
    if not folder.exists():
        with new_folder(folder) as unfinished:
            workspace = copy_workspace(base, unfinished)
            with closing(open_catalogue(workspace.catalogue)) as db:
                hide_fields(db, set(TEXT_FIELDS) - set(ENRICHED))
                build(workspace, db, NoEncoder())
    return Workspace.open(folder)


def _relevance_lines(ways: list[Relevance]) -> list[str]:
    lines = ["| token search reads | a relevant result meets | | gain in relevant results |"]
    lines[0] += " agreement of two judges |"
    lines.append("|---|---|---|---:|---:|")
    for way in ways:
        for seed, made in enumerate(way.reports):
            row = next(row for row in made.metrics["relevant"] if row.group == "all queries")
            interval = f"{row.difference.low:+.3f} to {row.difference.high:+.3f}"
            figures = f"{row.gain:+.1%} ({interval}) | {made.relevant.raw:.2f}"
            lines.append(f"| {way.reads} | {way.meets} | seed {seed} | {figures} |")
    return [*lines, f"| | | the paper | {PAPER_RELEVANCE:+.0%} | {PAPER_AGREEMENT} |"]


def _judged(
    workspace: Workspace,
    study: Study,
    truth: Truth,
    seed: int,
    way: Relevance,
    engine: Systems,
) -> JudgingReport:
    """Draw, let the three simulated judges answer, report."""
    name = f"{'-'.join(study.systems)}-{study.queries}-{study.k}"
    name += f"-{way.reads.split()[0]}-{THRESHOLDS[way.meets]}"
    judging = Judging(name, workspace.judging_of(name))
    if not judging.folder.exists():
        drawn = DrawOptions(study.systems, study.k, study.queries, seed=seed)
        with closing(open_catalogue(workspace.catalogue)) as db:
            draw(judging, db, lambda: engine, drawn)
    pairs = list(judging.pairs.values())
    grade, foreign = truth.grades([(pair.query, pair.item_id) for pair in pairs])
    for number, (judge, habits) in enumerate(JUDGES.items()):
        random = np.random.default_rng([seed, number])
        found = grade_by(habits, grade, foreign, random)
        given = five_grades(found, foreign, THRESHOLDS[way.meets]).tolist()
        with open_log(judging, judge) as log:
            log.add({pair.id: value for pair, value in zip(pairs, given, strict=True)})
    return report(judging)


def five_grades(grade: np.ndarray, foreign: np.ndarray, relevant_from: int = 3) -> np.ndarray:
    """The sample world's grades 0..3 on the judging's scale of 1 to 5, relevant from 4.

    A fitting item in another language gets 4.

    Args:
        relevant_from: 2 takes also what meets most of the query for relevant.
    """
    best = grade == 3
    return np.where(best & foreign, 4, np.array([1, 2, 3 if relevant_from == 3 else 4, 5])[grade])


def reproduce_classification(study: Study, options: Reproduce, on_run: OnRun | None = None) -> Made:
    """Precision by level with frozen query embeddings and with fastText, as Markdown.

    The query tower and every classifier are trained once for each seed. Writes
    `classification.md` and `classification.json` into the folder.

    Raises:
        InputError: a workspace was given, but the table has no labels file.
    """
    labels = _labels(study, options)
    base = base_workspace(options.folder, options.source, study.pins)
    encoders = {}
    for seed in range(options.seeds):
        on_step = on_run(seed + 1, options.seeds, f"seed {seed}") if on_run else None
        workspace = trained(base, study, options, seed, on_step, index=False)
        encoders[f"query tower, seed {seed}"] = load_encoder(workspace).queries
    made = classification_report(labels, encoders, range(options.seeds))
    text = f"# {study.title}\n\n{classification_markdown(made)}"
    return written(options.folder, "classification", text, made.to_json())


def _labels(study: Study, options: Reproduce) -> Labels:
    if study.labels:
        return read_labels(Path(study.labels))
    if options.source is not None:
        raise InputError(
            "The queries of this workspace have no labels.",
            where=str(options.source.root),
            how="Name a labels file (`labels = ...`) in your own table and pass it with --config.",
        )
    interests = Truth.of(study.pins, WORLD_SEED).interests()
    return labels_of(interests, [])


def trained(
    base: Workspace,
    study: Study,
    options: Reproduce,
    seed: int,
    on_step: Callable[[Any], None] | None,
    *,
    index: bool = True,
    train: Mapping[str, Any] | None = None,
) -> Workspace:
    """A copy of the base with a trained checkpoint and, on request, its index; kept for reuse.

    Args:
        train: settings in place of the study's.
    """
    changes = options.changes({**study.train, **(train or {})}) | {"seed": seed}
    config = preset_config(study.preset, **changes)
    folder = options.folder / "studies" / Run(None, config).key
    if not folder.exists():
        with new_folder(folder) as unfinished:
            copy_workspace(base, unfinished)
    workspace = Workspace.open(folder)
    with closing(open_catalogue(workspace.catalogue)) as db:
        if not workspace.best_checkpoint("default").exists():
            train_model(workspace, db, config, resume=True, on_step=on_step)
        if index and not workspace.current.exists():
            build(workspace, db, load_encoder(workspace))
    return workspace


def written(folder: Path, name: str, text: str, values: Any) -> Made:
    """Write `<name>.md` and `<name>.json`; returns both."""
    write_atomic(folder / f"{name}.md", text.encode())
    option = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY
    write_atomic(folder / f"{name}.json", orjson.dumps(values, option=option))
    return text, values
