"""The calibrated models of ads, published as one file: how often, and whether they fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import NotReady
from omnisearch.data.workspace.reading import load_json, reading
from omnisearch.data.workspace.sealed import Sealed
from omnisearch.ranker.calibrated import Calibrated
from omnisearch.ranker.features import differing_features, feature_names

MODELS = Sealed("The models of ads", 1, "Run `omnisearch ads train` again.")
POSITION = "log_position"  # what the engagement model reads beside the rankers' features
_FORM = {"engagement": (dict, type(None)), "relevance": (dict, type(None)), "report": dict}


@dataclass(frozen=True)
class AdModels:
    """The models; one of them is None if there was too little to learn it from.

    Attributes:
        engagement: the probability of a long click, of the rankers' features and POSITION.
        relevance: the probability that judges call an item relevant, of the rankers' features.
        report: what they learned from, and how well calibrated they are (`engine.ads.training`).
    """

    engagement: Calibrated | None
    relevance: Calibrated | None
    report: dict[str, Any]


def save_models(workspace: Workspace, models: AdModels) -> None:
    """Make models live; engines follow by themselves."""
    values = {
        "engagement": models.engagement and models.engagement.to_json(),
        "relevance": models.relevance and models.relevance.to_json(),
        "report": models.report,
    }
    workspace.ads.mkdir(exist_ok=True)
    MODELS.write(workspace.ad_models, orjson.dumps(values))


def load_models(workspace: Workspace) -> AdModels | None:
    """The live models; None if none were trained.

    Raises:
        Corrupt: the file was damaged. NotReady: they read other features than this version has.
    """
    content = MODELS.read(workspace.ad_models)
    if content is None:
        return None
    with reading(MODELS.what, workspace.ad_models, MODELS.again):
        values = load_json(content, _FORM)
        parsed = [
            Calibrated.from_json(values[name]) if values[name] else None
            for name in ("engagement", "relevance")
        ]
    engagement, relevance = parsed
    for model, last in ((engagement, (POSITION,)), (relevance, ())):
        read = None if model is None else model.names
        if read is not None and read != (*feature_names(), *last):
            differing = differing_features([name for name in read if name != POSITION])
            raise NotReady(
                f"The models of ads read other features than this version has ({differing}).",
                where=str(workspace.ad_models),
                how=MODELS.again,
            )
    return AdModels(engagement, relevance, values["report"])
