"""Answers the most frequent requests without FastAPI, whose overhead exceeds their own cost.

They are GET /v1/embed?q= with a cached embedding, and GET /v1/search and /v1/suggest with `q` and
optionally `k`, a search also `user`.
The answers equal those of the routes; any other request, and any invalid one, is left to them.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

from omnisearch.engine.suggest import MOST
from omnisearch.service.routes.search import search_answer
from omnisearch.service.routes.suggest import suggest_answer
from omnisearch.service.schemas import MAX_TEXT
from omnisearch.service.searching import Search
from omnisearch.service.serving.serving import Serving

_SIMPLE_EMBED = re.compile(rb"q=([^&;]+)\Z")
_SIMPLE_SEARCH = re.compile(rb"q=([^&;]+)(?:&k=([1-9][0-9]?))?(?:&user=([^&;]{1,512}))?\Z")


async def quick_answer(
    serving: Serving, endpoint: str, query_string: bytes, request_id: str
) -> bytes | None:
    """The body of an answer with status 200; None if the routes must handle the request.

    Raises:
        OmniError: as the routes.
    """
    if endpoint == "embed":
        found = _SIMPLE_EMBED.match(query_string)
        return serving.cached_embedding(_text(found[1])) if found else None
    if endpoint not in ("search", "suggest"):
        return None
    found = _SIMPLE_SEARCH.match(query_string)
    text = _text(found[1]) if found else ""
    if found is None or not 0 < len(text) <= MAX_TEXT:
        return None
    if endpoint == "suggest":
        if found[3]:
            return None
        k = int(found[2] or 8)
        return await suggest_answer(serving, text, k, None, request_id) if k <= MOST else None
    seconds = serving.config.deadline_ms / 1000
    user = _text(found[3]) if found[3] else None
    wanted = Search(text, seconds, int(found[2] or 20), user=user)
    return await search_answer(serving, wanted, request_id)


def _text(encoded: bytes) -> str:
    return unquote_plus(encoded.decode("latin-1"))
