"""/v1/experiments: the experiments of the workspace, and their reports."""

from __future__ import annotations

import time
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Request
from fastapi import Path as Parameter
from starlette.responses import Response

from omnisearch.data.workspace.errors import InputError
from omnisearch.evaluation.experiments import store
from omnisearch.service.errors import Refusal
from omnisearch.service.parameters import known_parameters
from omnisearch.service.serving.reports import Reports
from omnisearch.service.serving.serving import Serving

router = APIRouter(tags=["operation"], dependencies=[Depends(known_parameters)])
_FRESH = {"cache-control": "no-store"}


@router.get("/v1/experiments")
async def experiments(request: Request) -> Response:
    """The experiments of the workspace, the newest first."""
    serving: Serving = request.app.state.serving
    kept = await serving.pool.run(store.every, serving.workspace)
    return _json({"experiments": [_told(each) for each in reversed(kept)]})


@router.get("/v1/experiments/{name}")
async def experiment(
    request: Request, name: Annotated[str, Parameter(min_length=1, max_length=60)]
) -> Response:
    """An experiment with its report, as it was `age_seconds` ago.

    `report` is null until it is made, or if there is none: `why_not` then says why. While `making`
    is true, a newer one comes soon.
    """
    serving: Serving = request.app.state.serving
    reports: Reports = request.app.state.reports
    try:
        kept = await serving.pool.run(store.load, serving.workspace, name)
    except InputError as error:
        raise Refusal(404, error.what, where="name", how="See /v1/experiments.") from error
    told = _told(kept)
    if kept.began is None:
        why_not = "It has not been started."
        return _json(
            {**told, "report": None, "why_not": why_not, "making": False, "age_seconds": None}
        )
    made, making = reports.of(name)
    known = made.report is not None or bool(made.why_not)
    return _json(
        {
            **told,
            "report": made.report,
            "why_not": made.why_not,
            "making": making,
            "age_seconds": round(time.monotonic() - made.at, 1) if known else None,
        }
    )


def _json(values: dict[str, Any]) -> Response:
    return Response(orjson.dumps(values), media_type="application/json", headers=_FRESH)


def _told(kept: store.Kept) -> dict[str, Any]:
    experiment = kept.experiment
    return {
        "name": experiment.name,
        "about": experiment.about,
        "mode": experiment.mode,
        "actions": experiment.actions,
        "variants": [variant.name for variant in experiment.variants],
        "state": kept.state,
        "traffic": kept.traffic,
        "since": kept.history[-1].time,
    }
