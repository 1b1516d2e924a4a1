"""The loop that publishes, over an index that fails: what is due is tried again."""

from __future__ import annotations

import time
from typing import Any

import pytest

from omnisearch.data.workspace.errors import Unavailable
from omnisearch.service.runtime import updater
from omnisearch.service.runtime.updater import Publishing


class _Ended(Exception):
    """Ends the loop."""


class _Index:
    """Nothing is new; embedding fails so many times."""

    def __init__(self, failures: int) -> None:
        self.failures, self.embedded, self.until = failures, 0, time.monotonic() + 30

    def behind(self) -> bool:
        if self.embedded > self.failures or time.monotonic() > self.until:
            raise _Ended
        return False

    def embed_texts(self) -> None:
        self.embedded += 1
        if self.embedded <= self.failures:
            raise Unavailable("The catalogue is locked.", where="catalogue.db", how="Wait.")


class _Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def line(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))


def test_texts_that_could_not_be_embedded_are_embedded_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also those that an earlier process left, and without another change of the catalogue."""
    monkeypatch.setattr(updater, "_TEXTS_SECONDS", 0.05)
    index, log = _Index(failures=3), _Log()
    with pytest.raises(_Ended):
        Publishing(index, None, log).run()  # type: ignore[arg-type]
    assert index.embedded == 4
    [(event, fields)] = log.lines
    assert event == "not_embedded" and fields["what"] == "The catalogue is locked."
