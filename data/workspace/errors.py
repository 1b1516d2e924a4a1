"""Errors that a user can act on: what happened, where, and how to fix it."""

from __future__ import annotations

from typing import Any


class OmniError(Exception):
    """An error whose message is meant for the user, printed without a traceback.

    Attributes:
        what: one sentence, what happened.
        where: the file, line, field, command or option concerned; may be empty.
        how: what the user can do about it; may be empty.
        exit_code: the process exit status the CLI ends with.
        done: what was done before it, as `--json` prints it; None if nothing.
    """

    exit_code = 1
    done: Any = None

    def __init__(self, what: str, *, where: str = "", how: str = "") -> None:
        self.what, self.where, self.how = what, where, how
        super().__init__(" ".join(part for part in (where and f"{where}:", what, how) if part))


class InputError(OmniError):
    """The input (a file, a row, an option, a query) is not usable. Exit status 2."""

    exit_code = 2


class MissingExtra(InputError):
    """A package that only some users need is not installed."""

    def __init__(self, package: str, extra: str, *, where: str = "", how: str = "") -> None:
        install = f"Install the extra: {install_extra(extra)}."
        super().__init__(
            f"{package} is not installed.", where=where, how=f"{install} {how}".strip()
        )


class NotReady(OmniError):
    """A step that this one needs has not been run yet. Exit status 3."""

    exit_code = 3


class NothingToLearn(NotReady):
    """Nothing is there to train on, as far as training may see it."""


class Busy(NotReady):
    """Another process holds the lock of what this one is to do. Exit status 5."""

    exit_code = 5


class Corrupt(OmniError):
    """A file of the workspace is damaged or was tampered with. Exit status 4."""

    exit_code = 4


class OtherFormat(Corrupt):
    """A file of the workspace is whole, but of another version of this program."""


class Unavailable(OmniError):
    """The system refused: a full or read-only disk, a lock, a missing right. Exit status 1."""


def install_extra(extra: str) -> str:
    """The command that installs an extra."""
    return f"`pip install 'omnisearchsage[{extra}]'`"
