"""/v1/status, /healthz, /readyz and /metrics."""

from __future__ import annotations

import time
from typing import Any

import orjson
from fastapi import APIRouter, Depends, Request
from starlette.responses import PlainTextResponse, Response

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.engine.snapshot import Snapshot
from omnisearch.evaluation.judged import data_notes
from omnisearch.service.parameters import known_parameters
from omnisearch.service.serving.counters import BOUNDS, MOMENTS, STATES, Counters, quantile
from omnisearch.service.serving.serving import Serving

router = APIRouter(tags=["operation"], dependencies=[Depends(known_parameters)])
LATE_MINUTES = 5  # over which percentiles are computed
_STALE_SECONDS = 15  # that a worker's beat may be behind the newest of all


@router.get("/healthz", response_class=PlainTextResponse)
async def healthz() -> Response:
    """Liveness: the process answers."""
    return PlainTextResponse("ok\n")


@router.get(
    "/readyz",
    response_class=PlainTextResponse,
    responses={503: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def readyz(request: Request) -> Response:
    """Readiness: an index is open and requests are accepted; 503 while stopping.

    A second line says where what was published last cannot be opened, and what is served instead.
    """
    serving: Serving = request.app.state.serving
    if not serving.ready:
        return PlainTextResponse("stopping\n", 503)
    return PlainTextResponse(f"ready\n{serving.behind}\n" if serving.behind else "ready\n")


@router.get("/v1/status")
async def status(request: Request) -> Response:
    """The generation, latencies, and the state of the workers and the query cache."""
    serving: Serving = request.app.state.serving
    body = orjson.dumps(await serving.pool.run(service_status, serving))
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Counters of all workers, in Prometheus' text format."""
    text = prometheus(request.app.state.serving.counters)
    return Response(text, media_type="text/plain; version=0.0.4")


def service_status(serving: Serving) -> dict[str, Any]:
    """The answer to /v1/status."""
    snapshot, counters = serving.snapshot, serving.counters
    workers = [worker for worker in counters.facts() if worker["pid"]]
    now = time.monotonic()
    # Where all were paused, as in a suspend, none is stale.
    newest = max(worker["beat"] for worker in workers)
    return {
        "generation": snapshot.generation.number,
        "checkpoint": snapshot.encoder.checkpoint,
        "checkpoint_name": snapshot.generation.checkpoint_name,
        "rankers": snapshot.rankers_id.strip() or None,
        "rules": _rules(snapshot),
        "ads": _ads(snapshot),
        "experiment": _experiment(serving),
        "items": {entity: len(table) for entity, table in snapshot.generation.tables.items()},
        "encoder": type(snapshot.encoder).__name__,
        "behind": serving.behind or None,
        "notes": _notes(serving),
        "updates": _updates(serving),
        "cache": {**_cache(workers), "store": _store(serving)},
        "latency": _latency(counters),
        "history": _history(counters),
        "requests": _requests(counters),
        "workers": [
            {
                "pid": worker["pid"],
                "ready": bool(worker["ready"]) and newest - worker["beat"] < _STALE_SECONDS,
                "up_seconds": int(now - worker["started"]),
                "restarts": worker["restarts"],
                "generation": worker["generation"],
                "behind": bool(worker["behind"]),
                "swaps": worker["swaps"],
                "swap_failures": worker["swap_failures"],
                "task_failures": worker["task_failures"],
                "log_dropped": worker["log_dropped"],
                "connections": worker["connections"],
                "resident_mb": round(worker["resident_kib"] / 1024, 1),
                "searches_waiting": worker["searches_waiting"],
                "queries_waiting": worker["queries_waiting"],
            }
            for worker in workers
        ],
    }


def _experiment(serving: Serving) -> dict[str, Any] | None:
    """The running experiment, and the percent of the users who take part in it."""
    kept = serving.running.kept if serving.running else None
    return {"name": kept.experiment.name, "traffic": kept.traffic} if kept else None


def _rules(snapshot: Snapshot) -> dict[str, int] | None:
    """The version of the shop's rules, how many there are, and of those that name missing items."""
    if snapshot.rules is None:
        return None
    missing = {rule.line for rule, _ in snapshot.ruling.missing} if snapshot.ruling else ()
    rules = snapshot.rules
    return {"version": rules.number, "rules": len(rules.rules), "missing": len(missing)}


def _ads(snapshot: Snapshot) -> dict[str, Any] | None:
    """How many campaigns there are, run now and name missing items, and what models they have."""
    if snapshot.ads_of_items is None:
        return None
    models = snapshot.ad_models
    return {
        "campaigns": len(snapshot.campaigns),
        "running": sum(campaign.runs(time.time()) for campaign in snapshot.campaigns),
        "missing": len(snapshot.ads_of_items.missing),
        "engagement_model": bool(models and models.engagement),
        "relevance_model": bool(models and models.relevance),
    }


def _updates(serving: Serving) -> dict[str, Any] | None:
    """How far the index is behind the changes of items; None while no key may write."""
    facts = serving.counters.updates()
    if not (serving.config.write_keys or facts["updater_pid"] or facts["updater_restarts"]):
        return None
    return {
        "pid": facts["updater_pid"] or None,
        "restarts": facts["updater_restarts"],
        "publications": facts["publications"],
        "failures": facts["publish_failures"],
        "last_seconds": facts["publish_ms"] / 1000,
        "waiting_seconds": _waiting_seconds(facts),
    }


def _waiting_seconds(facts: dict[str, int]) -> float:
    """For how long the oldest change that is not published has waited."""
    since = facts["pending_since"]
    return round(max(0.0, time.monotonic() - since / 1000), 3) if since else 0.0


def _notes(serving: Serving) -> list[str]:
    """Notes on the data, such as that it is synthetic."""
    db = open_catalogue(serving.workspace.catalogue)
    try:
        return data_notes(db)
    finally:
        db.conn.close()


def _store(serving: Serving) -> dict[str, Any]:
    """The stored query embeddings; where they lie is not told to clients."""
    return {name: value for name, value in serving.engine.cache.stats().items() if name != "store"}


def _cache(workers: list[dict[str, int]]) -> dict[str, Any]:
    total = {name: sum(worker[name] for worker in workers) for name in workers[0]}
    hits = total["memory_hits"] + total["store_hits"]
    asked = hits + total["encoded"] + total["joined"]
    return {
        **{name: total[name] for name in ("memory_hits", "store_hits", "encoded", "joined")},
        "refused": total["refused"],
        "hit_rate": hits / asked if asked else None,
        "model_batches": total["batches"],
        "model_seconds": total["model_us"] / 1e6,
    }


def _quantiles(buckets: list[int]) -> dict[str, Any]:
    shares = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99}
    return {"requests": sum(buckets)} | {
        name: round(found, 3) if (found := quantile(buckets, share)) is not None else None
        for name, share in shares.items()
    }


def _latency(counters: Counters) -> dict[str, Any]:
    """Endpoint → requests and percentiles of the last minutes."""
    return {
        endpoint: _quantiles([sum(column) for column in zip(*(b for _, b in late), strict=True)])
        for endpoint, late in counters.minutes(LATE_MINUTES).items()
    }


def _history(counters: Counters) -> dict[str, Any]:
    """Endpoint → one entry per minute, oldest first."""
    return {
        endpoint: [{"time": at, **_quantiles(buckets)} for at, buckets in late]
        for endpoint, late in counters.minutes(1_000).items()
    }


def _requests(counters: Counters) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for endpoint, status_, requests in counters.statuses():
        found.setdefault(endpoint, {})[str(status_) if status_ else "other"] = requests
    return found


def prometheus(counters: Counters) -> str:
    """All counters in the text format of Prometheus."""
    lines = ["# TYPE omnisearch_requests_total counter"]
    for endpoint, status_, requests in counters.statuses():
        labels = f'endpoint="{endpoint}",status="{status_ or "other"}"'
        lines.append(f"omnisearch_requests_total{{{labels}}} {requests}")
    name = "omnisearch_request_seconds"
    lines.append(f"# TYPE {name} histogram")
    for endpoint, buckets, seconds in counters.latencies():
        total = 0
        for bound, count in zip((*BOUNDS, None), buckets, strict=True):
            total += count
            le = "+Inf" if bound is None else f"{bound / 1000:g}"
            lines.append(f'{name}_bucket{{endpoint="{endpoint}",le="{le}"}} {total}')
        lines.append(f'{name}_sum{{endpoint="{endpoint}"}} {seconds:.6f}')
        lines.append(f'{name}_count{{endpoint="{endpoint}"}} {total}')
    lines += _update_lines(counters)
    workers = counters.facts()
    since_1970 = int(time.time() - time.monotonic())
    for fact in workers[0]:
        if fact == "pid":
            continue
        state = fact in STATES
        metric = f"omnisearch_worker_{fact}" + ("" if state else "_total")
        lines.append(f"# TYPE {metric} {'gauge' if state else 'counter'}")
        for slot, worker in enumerate(workers):
            if worker["pid"]:
                value = worker[fact] + (since_1970 if fact in MOMENTS else 0)
                lines.append(f'{metric}{{worker="{slot}"}} {value}')
    return "\n".join(lines) + "\n"


def _update_lines(counters: Counters) -> list[str]:
    facts = counters.updates()
    if not facts["updater_pid"] and not facts["updater_restarts"]:
        return []
    values = (
        ("waiting_seconds", "gauge", _waiting_seconds(facts)),
        ("last_seconds", "gauge", facts["publish_ms"] / 1000),
        ("publications_total", "counter", facts["publications"]),
        ("failures_total", "counter", facts["publish_failures"]),
        ("restarts_total", "counter", facts["updater_restarts"]),
    )
    return [
        line
        for name, kind, value in values
        for line in (
            f"# TYPE omnisearch_updates_{name} {kind}",
            f"omnisearch_updates_{name} {value:g}",
        )
    ]
