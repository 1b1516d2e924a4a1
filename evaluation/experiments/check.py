"""Whether a workspace has what the variants of an experiment name."""

from __future__ import annotations

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.engine.config import EngineConfig, engine_config
from omnisearch.evaluation.experiments.definition import NONE, Experiment, Variant


def check(workspace: Workspace, experiment: Experiment) -> dict[str, EngineConfig]:
    """Variant → its settings; raises InputError for what the workspace does not have."""
    return {variant.name: _checked(workspace, variant) for variant in experiment.variants}


def _checked(workspace: Workspace, variant: Variant) -> EngineConfig:
    where = f"variants.{variant.name}"
    if variant.generation and not workspace.generation(variant.generation).is_dir():
        raise InputError(
            f"There is no generation {variant.generation}.",
            where=f"{where}.generation",
            how=f"Name one of {workspace.generations}.",
        )
    named = variant.rankers not in ("", NONE)
    if named and not (workspace.rankers / variant.rankers / "manifest.json").is_file():
        raise InputError(
            f"There are no rankers {variant.rankers!r}.",
            where=f"{where}.rankers",
            how=f"Name a folder of {workspace.rankers}, or 'none'.",
        )
    numbered = isinstance(variant.rules, int)
    if numbered and not (workspace.rules / str(variant.rules)).is_dir():
        raise InputError(
            f"There is no version {variant.rules} of the rules.",
            where=f"{where}.rules",
            how="`omnisearch rules list` shows those that are kept.",
        )
    try:
        return engine_config(workspace, **variant.engine)
    except InputError as error:
        raise InputError(error.what, where=f"{where}.engine", how=error.how) from error
