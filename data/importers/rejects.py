"""The rejects file: each refused row with file, line, field and reason."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from omnisearch.data.importers.value_checks import Refused
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.files import fsync_folder
from omnisearch.data.workspace.leftovers import temporary

MAX_SHOWN = 200  # characters of a refused value that are kept
MAX_REASONS = 50


class Rejects:
    """Collects refused rows and fields in a temporary file, created at the first of them."""

    def __init__(self, workspace: Workspace, source: str) -> None:
        self._folder = workspace.rejects
        self._source = source
        self._file: BinaryIO | None = None
        self._partial: Path | None = None
        self._held = ExitStack()
        self.refused = 0
        self.left_out = 0
        self.reasons: Counter[str] = Counter()
        self.left_out_reasons: Counter[str] = Counter()

    def add(self, line: int, refused: Refused) -> None:
        """A row is refused."""
        self.refused += 1
        self._note(line, refused, "refused", self.reasons)

    def leave_out(self, line: int, refused: Refused) -> None:
        """A row is taken without one of its fields."""
        self.left_out += 1
        self._note(line, refused, "taken", self.left_out_reasons)

    def _note(self, line: int, refused: Refused, row: str, reasons: Counter[str]) -> None:
        if self._file is None:
            self._partial = self._held.enter_context(temporary(self._folder / "rejects"))
            self._file = self._partial.open("wb")
        entry = {
            "file": self._source,
            "line": line,
            "row": row,
            "field": refused.field or None,
            "reason": refused.reason,
            "value": _shown(refused.value),
        }
        self._file.write(orjson.dumps(entry) + b"\n")
        summary = f"{refused.field} {refused.reason}".strip()
        if summary not in reasons and len(reasons) >= MAX_REASONS:
            summary = "other reasons"
        reasons[summary] += 1

    def finish(self, number: int) -> Path | None:
        """Rename the file to `<import id>-<file>.jsonl`; None if nothing was refused."""
        if self._file is None or self._partial is None:
            return None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        # Left by an import that was killed before its number was recorded.
        for stale in self._folder.glob(f"{number}-*.jsonl"):
            stale.unlink()
        final = self._folder / f"{number}-{Path(self._source).name}.jsonl"
        self._partial.chmod(0o644)
        self._partial.replace(final)
        self._held.close()
        fsync_folder(self._folder)
        return final

    def discard(self) -> None:
        """Drop the file; does nothing after `finish`."""
        try:
            if self._file is not None:
                self._file.close()
        finally:
            self._held.close()


def _shown(value: Any) -> str | None:
    if value is None:
        return None
    shown = value if isinstance(value, str) else repr(value)
    if len(shown) > MAX_SHOWN:
        shown = shown[:MAX_SHOWN] + "…"
    return shown.encode("utf-8", "backslashreplace").decode()
