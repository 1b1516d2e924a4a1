"""The tables of an evaluation in a terminal of 80 columns."""

from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from omnisearch.evaluation.recall import Recall
from omnisearch.evaluation.render_terminal import evaluation_tables

LANGUAGES = ("cs", "de", "en", "es", "fr", "it", "ja")


def recall(space: str, pairs_of: str) -> Recall:
    return Recall(space, pairs_of, "", 12_345, 1_000, 25_000, 0.205, 0.185, 0.225)


def test_figures_are_not_cut_in_80_columns() -> None:
    spaces = ("learned", "pinsage", "itemsage", "bm25")
    found: Any = SimpleNamespace(
        **{"generation": 3, "eval_from": 0, "eval_until": 0, "tables": []},
        **{"notes": [], "left_out": []},
        recall=[recall(space, "product/add_to_cart") for space in spaces],
        languages=[
            recall("learned", f"pin/{one} → {other}") for one in LANGUAGES for other in LANGUAGES
        ],
    )
    page = io.StringIO()
    Console(file=page, width=80).print(evaluation_tables(found))
    whole = re.findall(r"0\.205 0\.185–0\.225", page.getvalue())
    assert len(whole) == len(spaces) + len(LANGUAGES) ** 2
    assert set(spaces) <= set(page.getvalue().split()) and "…" not in page.getvalue()
