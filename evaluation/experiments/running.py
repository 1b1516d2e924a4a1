"""The running experiment, open: its variants, and which one a user gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from omnisearch.data.workspace import Workspace
from omnisearch.engine.config import EngineConfig
from omnisearch.engine.rules.published import load_rules
from omnisearch.engine.snapshot import Snapshot, open_snapshot
from omnisearch.evaluation.experiments import store
from omnisearch.evaluation.experiments.assignment import user_hash, variant_of
from omnisearch.evaluation.experiments.check import check
from omnisearch.evaluation.experiments.definition import INTERLEAVE, NONE, Experiment, Variant
from omnisearch.ranker.published import load_rankers


@dataclass(frozen=True, eq=False)
class Arm:
    """A variant, open: what its searches are answered from.

    Attributes:
        experiment, variant: their names; empty for a user who takes part in none.
    """

    experiment: str
    variant: str
    system: str
    snapshot: Snapshot
    config: EngineConfig


@dataclass(frozen=True, eq=False)
class Running:
    """What is asked of a user's searches now.

    Attributes:
        key: of users' hashes. live: what everybody else is answered from.
        kept: the running experiment; None if there only are others, for which searches are logged.
    """

    key: bytes
    live: Arm
    kept: store.Kept | None
    arms: Mapping[str, Arm]

    def of(self, user: str) -> tuple[bytes, list[Arm]]:
        """The hash of a user, and what answers the user's searches: both arms of an interleaving,
        otherwise one."""
        hashed = user_hash(user, self.key)
        variant = None
        if self.kept is not None:
            variant = variant_of(self.kept.experiment, self.kept.traffic, hashed)
        if self.kept is None or variant is None:
            return hashed, [self.live]
        if self.kept.experiment.mode == INTERLEAVE:
            return hashed, list(self.arms.values())
        return hashed, [self.arms[variant.name]]


def open_running(workspace: Workspace, live: Snapshot, config: EngineConfig) -> Running | None:
    """What is running on top of the live snapshot; None where there was never an experiment.

    What variants share with the live snapshot, and with each other, is open once.

    Raises:
        InputError: the experiment names what the workspace does not have.
        Corrupt, NotReady: a part of a variant cannot be opened.
    """
    key = store.key_of(workspace)
    if key is None:
        return None
    kept = store.running(workspace)
    everybody = Arm("", "", "full", live, config)
    arms = open_arms(workspace, kept.experiment, live) if kept else {}
    return Running(key, everybody, kept, arms)


def open_arms(workspace: Workspace, experiment: Experiment, live: Snapshot) -> dict[str, Arm]:
    """Variant → what it is answered from. Raises as `open_running`."""
    generations: dict[int, Snapshot] = {live.generation.number: live}
    configs = check(workspace, experiment)
    arms = {}
    for variant in experiment.variants:
        config = configs[variant.name]
        number = variant.generation or live.generation.number
        if number not in generations:
            generations[number] = open_snapshot(
                workspace,
                "tantivy",
                threads=config.model_threads,
                number=number,
                rerank=config.rerank > 0,
                like=live,
            )
        snapshot = _with(workspace, generations[number], variant)
        arms[variant.name] = Arm(experiment.name, variant.name, variant.system, snapshot, config)
    return arms


def _with(workspace: Workspace, snapshot: Snapshot, variant: Variant) -> Snapshot:
    """The snapshot with the variant's rankers and rules."""
    if variant.rankers == NONE:
        snapshot = replace(snapshot, rankers=None, rankers_id="", reranker=None)
    elif variant.rankers:
        rankers = load_rankers(workspace, variant.rankers)
        snapshot = replace(snapshot, rankers=rankers, rankers_id=variant.rankers)
    if variant.rules == NONE:
        snapshot = replace(snapshot, rules=None)
    elif isinstance(variant.rules, int):
        snapshot = replace(snapshot, rules=load_rules(workspace, variant.rules))
    _ = snapshot.compounds, snapshot.ruling  # made now: no search waits for it
    return snapshot
