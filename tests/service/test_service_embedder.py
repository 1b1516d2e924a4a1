"""The loop that embeds texts, over texts that fail: they are tried again."""

from __future__ import annotations

from typing import Any

import pytest

from omnisearch.data.workspace.errors import Unavailable
from omnisearch.service.runtime import embedder


class _Ended(BaseException):
    """Ends the loop."""


class _Texts:
    """Embedding fails so many times, then succeeds once."""

    def __init__(self, failures: int) -> None:
        self.failures, self.embedded = failures, 0

    def embed(self) -> None:
        self.embedded += 1
        if self.embedded <= self.failures:
            raise Unavailable("The catalogue is locked.", where="catalogue.db", how="Wait.")
        raise _Ended


class _Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def line(self, event: str, **fields: Any) -> None:
        self.lines.append((event, fields))


def test_texts_that_could_not_be_embedded_are_embedded_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is said once."""
    monkeypatch.setattr(embedder, "_EVERY_SECONDS", 0.05)
    texts, log = _Texts(failures=3), _Log()
    with pytest.raises(_Ended):
        embedder.run(texts, log)  # type: ignore[arg-type]
    assert texts.embedded == 4
    [(event, fields)] = log.lines
    assert event == "not_embedded" and fields["what"] == "The catalogue is locked."
