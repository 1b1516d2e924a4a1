"""§5.1 and §5.4 on the sample world, with simulated judges and taxonomy labels.

On your own workspace, judges are people (`omnisearch judge`) and labels come from a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.files import new_folder, write_atomic
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.encoders.config import preset_config
from omnisearch.encoders.training.run import train as train_model
from omnisearch.engine.search import SearchEngine
from omnisearch.evaluation.classification.labels import Labels, labels_of, read_labels
from omnisearch.evaluation.classification.render import markdown as classification_markdown
from omnisearch.evaluation.classification.study import classification_report
from omnisearch.evaluation.judging.answers import open_log
from omnisearch.evaluation.judging.draw import DrawOptions, draw
from omnisearch.evaluation.judging.findings import JudgingReport, report
from omnisearch.evaluation.judging.folder import Judging
from omnisearch.evaluation.judging.markdown import markdown as judging_markdown
from omnisearch.evaluation.reproduce.base import WORLD_SEED, base_workspace, copy_workspace
from omnisearch.evaluation.reproduce.reproduce import OnRun, Reproduce
from omnisearch.evaluation.reproduce.runs import Run
from omnisearch.evaluation.reproduce.spec import Study
from omnisearch.indexer.build import build
from omnisearch.world.judges import JUDGES, grade_by
from omnisearch.world.truth import Truth

Made = tuple[str, Any]  # Markdown, and plain values
PAPER_RELEVANCE, PAPER_AGREEMENT = 0.10, 0.89  # §5.1: gain; agreement of three judges


def reproduce_relevance(study: Study, options: Reproduce, on_run: OnRun | None = None) -> Made:
    """The judged relevance of two systems, once for each training seed, as Markdown.

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
    truth = Truth.of(study.pins, WORLD_SEED)
    reports = []
    for seed in range(options.seeds):
        on_step = on_run(seed + 1, options.seeds, f"seed {seed}") if on_run else None
        workspace = trained(base, study, options, seed, on_step)
        reports.append(_judged(workspace, study, truth, seed))
    lines = [f"# {study.title}", "", *_relevance_lines(reports)]
    for seed, made in enumerate(reports):
        lines += ["", f"## Seed {seed}", "", judging_markdown(made).replace("\n#", "\n###")]
    text = "\n".join(lines) + "\n"
    return written(options.folder, "relevance", text, [made.to_json() for made in reports])


def _relevance_lines(reports: list[JudgingReport]) -> list[str]:
    lines = ["| | gain in relevant results | agreement of two judges |", "|---|---:|---:|"]
    for seed, made in enumerate(reports):
        row = next(row for row in made.metrics["relevant"] if row.group == "all queries")
        interval = f"{row.difference.low:+.3f} to {row.difference.high:+.3f}"
        lines.append(f"| seed {seed} | {row.gain:+.1%} ({interval}) | {made.relevant.raw:.2f} |")
    return [*lines, f"| the paper | {PAPER_RELEVANCE:+.0%} | {PAPER_AGREEMENT} |"]


def _judged(workspace: Workspace, study: Study, truth: Truth, seed: int) -> JudgingReport:
    """Draw, let the three simulated judges answer, report."""
    name = f"{'-'.join(study.systems)}-{study.queries}-{study.k}"
    judging = Judging(name, workspace.judging_of(name))
    if not judging.folder.exists():
        engine = SearchEngine.open(workspace)
        drawn = DrawOptions(study.systems, study.k, study.queries, seed=seed)
        with closing(open_catalogue(workspace.catalogue)) as db:
            draw(judging, db, lambda: engine, drawn)
        engine.close()
    pairs = list(judging.pairs.values())
    grade, foreign = truth.grades([(pair.query, pair.item_id) for pair in pairs])
    for number, (judge, habits) in enumerate(JUDGES.items()):
        random = np.random.default_rng([seed, number])
        given = five_grades(grade_by(habits, grade, foreign, random), foreign).tolist()
        with open_log(judging, judge) as log:
            log.add({pair.id: value for pair, value in zip(pairs, given, strict=True)})
    return report(judging)


def five_grades(grade: np.ndarray, foreign: np.ndarray) -> np.ndarray:
    """The sample world's grades 0..3 on the judging's scale of 1 to 5.

    A fitting item in another language gets 4.
    """
    best = grade == 3
    return np.where(best & foreign, 4, np.array([1, 2, 3, 5])[grade])


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
