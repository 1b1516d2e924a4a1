"""Errors as JSON answers: {"error": {"what", "where", "how", "fields"}} and a status."""

from __future__ import annotations

from typing import Any

import orjson

from omnisearch.data.workspace.errors import (
    Corrupt,
    InputError,
    NotReady,
    OmniError,
    Unavailable,
)
from omnisearch.encoders.no_encoder import NoEmbeddings
from omnisearch.engine.query_embeddings.jobs import Overloaded
from omnisearch.engine.similar import NoSuchItem


class Refusal(OmniError):
    """A request that is refused.

    Attributes:
        status: HTTP status of the answer.
        retry_after: seconds after which to try again; None where that would not help.
        close: whether the connection is closed after the answer.
        fields: each thing that is wrong, as {"where", "what"}; None where there is only one.
    """

    def __init__(
        self,
        status: int,
        what: str,
        *,
        where: str = "",
        how: str = "",
        retry_after: int | None = None,
        close: bool = False,
        fields: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(what, where=where, how=how)
        self.status, self.retry_after, self.close, self.fields = status, retry_after, close, fields


def busy(what: str, retry_after: int = 1) -> Refusal:
    """503 with Retry-After."""
    how = f"Ask again in {retry_after} s."
    return Refusal(503, what, how=how, retry_after=retry_after)


def status_of(error: OmniError) -> int:
    """The HTTP status of the answer to an error."""
    if isinstance(error, Refusal):
        return error.status
    if isinstance(error, NoSuchItem):
        return 404
    if isinstance(error, InputError):
        return 422
    return 503 if isinstance(error, Overloaded | NotReady | Corrupt | Unavailable) else 500


def error_headers(error: OmniError) -> list[tuple[bytes, bytes]]:
    """The headers of the answer to an error."""
    headers = [(b"content-type", b"application/json")]
    seconds = getattr(error, "retry_after", None)
    if seconds is None and status_of(error) == 503:
        seconds = 5
    if seconds is not None:
        headers.append((b"retry-after", str(seconds).encode()))
    if status_of(error) == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if getattr(error, "close", False):
        headers.append((b"connection", b"close"))
    return headers


def error_body(error: OmniError) -> bytes:
    """The body of the answer to an error; it never names files of this machine."""
    what, where, how = error.what, error.where, error.how
    if isinstance(error, NoEmbeddings):
        how = "Search with system=token, or without a system."
    elif isinstance(error, Corrupt | NotReady | Unavailable):  # their texts name files
        what = error.what if isinstance(error, Unavailable) else "The index cannot be used."
        where, how = "", "The service's operator can tell why."
    said: dict[str, Any] = {"what": what, "where": where, "how": how}
    fields = getattr(error, "fields", None)
    if fields:
        said["fields"] = fields
    return orjson.dumps({"error": said}, default=str)


def internal_body() -> bytes:
    """The body of the answer to an unexpected error: no details, which could help an attacker."""
    what, how = "Something went wrong here.", "The service's log has the details by request id."
    return orjson.dumps({"error": {"what": what, "where": "", "how": how}})
