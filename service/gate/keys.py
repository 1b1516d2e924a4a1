"""The API keys that a service knows, and the scope that each request needs."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from omnisearch.data.workspace.files import stamp
from omnisearch.service.config import ServiceConfig
from omnisearch.service.errors import Refusal
from omnisearch.service.headers import COOKIE
from omnisearch.service.key_files import ALL, READING, Key, keys_and_faults, read_keys

# Endpoint → the scope that it needs; those that are not here need any key.
SCOPE_OF = {
    **dict.fromkeys(("search", "embed", "embed_batch", "compare", "related", "similar"), "search"),
    **dict.fromkeys(("suggest", "pictures"), "search"),
    "feedback": "feedback",
    "judgments": "judge",
    "items": "write",
}
_KEY_COOKIE = re.compile(rb"(?:^|;)\s*" + COOKIE.encode() + rb"=([^;]*)")


class Keys:
    """The keys in the files of the settings, read again when these change.

    Attributes:
        required: whether reading requires a key; writing always does.
    """

    def __init__(self, config: ServiceConfig, say: Callable[..., None] | None = None) -> None:
        """Read the files.

        Args:
            say: called with an event and its fields, for the log.

        Raises:
            InputError: a file cannot be read, is empty, or has an invalid line.
        """
        files = ((config.api_keys, READING), (config.write_keys, ALL))
        self._files = [(path, scopes) for path, scopes in files if path]
        self.required = bool(config.api_keys)
        self._say = say or (lambda event, **fields: None)
        self._read = self._seen = self._stamps()
        self._keys = tuple(key for path, scopes in self._files for key in read_keys(path, scopes))

    @property
    def writable(self) -> bool:
        """Whether there is a key that may change items."""
        return any("write" in key.scopes for key in self._keys)

    def look(self) -> None:
        """Read the files again if they have changed since, and not since the last look.

        So a file that an editor is writing is not read. A line that is invalid is no key and is
        told; so is a file that cannot be read: what an operator removed must not go on working.
        """
        now = self._stamps()
        at_rest, self._seen = now == self._seen, now
        if now == self._read or not at_rest:
            return
        found: list[Key] = []
        for path, scopes in self._files:
            keys, faults = keys_and_faults(path, scopes)
            found += keys
            for fault in faults:
                self._say("keys_refused", what=fault.what, where=fault.where, how=fault.how)
        self._keys, self._read = tuple(found), now
        self._say("keys", known=len(found))

    def admit(self, headers: Mapping[bytes, bytes], scope: str | None) -> str | None:
        """The name of the key that a request carries; None if it carries no known key.

        Args:
            scope: what the key must allow; None if any key may.

        Raises:
            Refusal: 403, if the key lacks the scope, or no key has the scope `write`.
        """
        writes = scope == "write"
        if writes and not self.writable:
            raise Refusal(
                403,
                "Items cannot be changed: this service has no keys that may write.",
                where="Authorization",
                how="Its operator can give some with --write-keys, or with the scope write.",
            )
        found = self._find(key_of(headers, scope))
        if found is None:
            return None
        if scope is not None and scope not in found.scopes:
            raise Refusal(
                403,
                f"This API key lacks the scope {scope}.",
                where="Authorization",
                how=f"Use a key with the scope {scope}. "
                f"This one has {', '.join(sorted(found.scopes))}.",
            )
        return found.name

    def _find(self, shown: bytes) -> Key | None:
        """The key with this text, with the scopes of all lines that have it; else None.

        All keys are compared, each in constant time, so that timing reveals nothing.
        """
        digest, found = sha256(shown).digest(), None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                scopes = key.scopes | (found.scopes if found else frozenset())
                found = Key(digest, found.name if found else key.name, scopes)
        return found

    def _stamps(self) -> list[Any]:
        return [stamp(Path(path)) for path, _ in self._files]


def add_security(
    schema: dict[str, Any], required: bool, endpoint: Callable[[str, str], str]
) -> None:
    """Add to an OpenAPI schema how a key is sent, and the scope that each operation needs.

    Args:
        required: whether reading requires a key.
        endpoint: of a path and a method, such as `gate.endpoint_of`.
    """
    schema.setdefault("components", {})["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE},
    }
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            name = endpoint(path, method.upper())
            scope = SCOPE_OF.get(name)
            ways = ("bearer", "header") if scope == "write" else ("bearer", "header", "cookie")
            needed: list[dict[str, list[str]]] = [{way: [scope] if scope else []} for way in ways]
            if name == "probes":
                needed = []
            elif not required and scope != "write":
                needed = [{}, *needed]
            operation["security"] = needed
            if scope:
                operation["x-scope"] = scope


def key_of(headers: Mapping[bytes, bytes], scope: str | None) -> bytes:
    """The key that a request carries, known or not; empty if it carries none.

    A cookie does not write: pages do not, so that nobody can make them.
    """
    return _shown_key(headers) or (b"" if scope == "write" else _cookie(headers))


def _shown_key(headers: Mapping[bytes, bytes]) -> bytes:
    scheme, _, word = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer" and word:
        return word.strip()
    if b"x-api-key" in headers:
        return headers[b"x-api-key"].strip()
    return b""


def _cookie(headers: Mapping[bytes, bytes]) -> bytes:
    found = _KEY_COOKIE.search(headers.get(b"cookie", b""))
    return found[1].strip() if found else b""
