"""Query parameters that a route does not know, or that come twice, are refused."""

from __future__ import annotations

from fastapi import FastAPI, Request
from rapidfuzz import fuzz, process

from omnisearch.service.errors import Refusal


def query_parameters(app: FastAPI) -> dict[tuple[str, str], dict[str, bool]]:
    """(method, path of a route) → the names of its query parameters, by its OpenAPI schema, and
    whether each may be repeated."""
    return {
        (method.upper(), path): {
            each["name"]: each["schema"].get("type") == "array"
            for each in operation.get("parameters", ())
            if each["in"] == "query"
        }
        for path, operations in app.openapi()["paths"].items()
        for method, operation in operations.items()
    }


async def known_parameters(request: Request) -> None:
    """Raise Refusal 422 for a parameter that the route does not have, or that is given twice."""
    if not request.url.query or not request.url.path.startswith("/v1/"):
        return  # probes and scrapers add parameters of their own
    route = request.scope["route"].path_format
    repeated = request.app.state.parameters.get((request.method, route), {})
    known = list(repeated)
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in known:
            near = _nearest(name, known)
            listed = f"The parameters are {', '.join(known)}." if known else "It takes none."
            raise Refusal(
                422,
                f"There is no parameter {name[:100]!r}.",
                where=f"query {name[:100]}",
                how=f"Did you mean {near}? {listed}" if near else listed,
            )
        if given.count(name) > 1 and not repeated[name]:
            raise Refusal(422, f"{name} is given more than once.", where=f"query {name}")


def _nearest(name: str, known: list[str]) -> str | None:
    """The known name with most of the same words or letters: price_min for min_price."""
    choices = {each: each.replace("_", " ") for each in known}
    found = process.extractOne(
        name.replace("_", " "), choices, scorer=fuzz.token_sort_ratio, score_cutoff=70
    )
    return found[2] if found else None
