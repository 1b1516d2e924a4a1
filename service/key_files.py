"""Files of API keys: who may do what.

A line is the sha256 of a key, a name, and the key's scopes, with spaces between:
`9f86d0…0f00a08  shop  search,feedback`. A line with nothing but a sha256 has the scopes that its
file gives. What follows a `#` is a comment.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from omnisearch.data.workspace.errors import InputError

SCOPES = {
    "search": "searches, embeddings and pictures",
    "feedback": "sending engagement events",
    "judge": "sending judgments",
    "write": "changing items",
}
READING = frozenset(SCOPES) - {"write"}  # of a line without scopes in the file of --api-keys
ALL = frozenset(SCOPES)  # of one in the file of --write-keys
_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class Key:
    """One API key: the sha256 of it, what the log calls it, and what it may do (SCOPES)."""

    digest: bytes
    name: str
    scopes: frozenset[str]


def read_keys(path: str, scopes: frozenset[str] = READING) -> tuple[Key, ...]:
    """The keys in a file; none where `path` is empty.

    Args:
        scopes: those of a line that names none.

    Raises:
        InputError: the file cannot be read, a line of it is invalid, or it holds no key.
    """
    if not path:
        return ()
    keys, faults = keys_and_faults(path, scopes)
    if faults:
        raise faults[0]
    if not keys:
        raise InputError(
            "The file of API keys is empty.",
            where=path,
            how="Make a key with `omnisearch keys new NAME`.",
        )
    return keys


def keys_and_faults(path: str, scopes: frozenset[str]) -> tuple[tuple[Key, ...], list[InputError]]:
    """The keys in a file, and what is wrong with each line that holds none."""
    keys, faults = [], []
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        return (), [InputError(f"The file of API keys cannot be read ({why}).", where=path)]
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].removesuffix("  -").split()  # as `sha256sum` prints it
        try:
            if words:
                keys.append(_key(words, scopes))
        except InputError as error:
            faults.append(InputError(error.what, where=f"{path} line {number}", how=error.how))
    return tuple(keys), faults


def new_key(path: Path, name: str, scopes: Iterable[str]) -> str:
    """Make a key and add its line to the file, which is made if missing; returns the key.

    The file is readable by its owner alone if it is made here. The key itself is stored nowhere.

    Raises:
        InputError: the name or a scope is invalid, or the file has a key of this name.
    """
    secret = secrets.token_urlsafe(32)
    chosen = parse_scopes(",".join(scopes))
    digest = sha256(secret.encode()).digest()
    words = (digest.hex(), name, ",".join(each for each in SCOPES if each in chosen))
    _key(list(words), chosen)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(file, "r+b") as lines:
        fcntl.flock(lines, fcntl.LOCK_EX)  # two at once must not take one name
        before = lines.read()
        known, _ = keys_and_faults(str(path), READING)
        if any(key.name == name for key in known):
            raise InputError(
                f"There is a key of the name {name!r} already.",
                where=str(path),
                how="Choose another name, or remove its line first, which revokes it.",
            )
        end = b"" if not before or before.endswith(b"\n") else b"\n"
        lines.write(end + "  ".join(words).encode() + b"\n")
        lines.flush()
        os.fsync(lines.fileno())
    return secret


def parse_scopes(text: str) -> frozenset[str]:
    """Scopes written as `search,feedback`; raises InputError for an unknown one, and for none."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in SCOPES]
    if unknown or not names:
        raise InputError(
            f"There is no scope {unknown[0]!r}." if unknown else "No scope is given.",
            how=f"The scopes are {', '.join(SCOPES)}; separate several by commas.",
        )
    return frozenset(names)


def _key(words: list[str], scopes: frozenset[str]) -> Key:
    """The key of a line; raises InputError without a place."""
    try:
        digest = bytes.fromhex(words[0])
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise InputError(
            "This is not a sha256 digest in hexadecimal.",
            how="Make a key with `omnisearch keys new NAME`, or with: printf %s KEY | sha256sum",
        )
    if len(words) == 1:
        return Key(digest, digest.hex()[:12], scopes)
    if len(words) != 3:
        raise InputError(
            f"A line of the file of API keys has {len(words)} words.",
            how="Write the sha256, a name and the scopes, such as search,feedback.",
        )
    if not _NAME.fullmatch(words[1]):
        raise InputError(
            f"{words[1]!r} is not a name for a key.",
            how="Use at most 64 letters, digits, dots and dashes.",
        )
    return Key(digest, words[1], parse_scopes(words[2]))
