"""What an enricher did, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omnisearch.data.catalogue.left_out import LeftOut
from omnisearch.data.catalogue.splits import NO_LIMIT
from omnisearch.data.workspace.dates import moment

_APART = ("train_again", "left_out")
_WORDS = {
    "mrr_before": "mean reciprocal rank before",
    "own_texts": "titles and texts of items first",
    "mrr_own_texts": "after these",
    "mrr_after": "after",
    "word_weight": "weight of words where no rankers are trained",
    "mrr_taught": "after the teacher's grades",
    "items_in_english": "items in English",
    "computed": "texts embedded anew",
    "dim": "dimensions",
}


def sentences(name: str, counts: Mapping[str, Any]) -> list[str]:
    """The counts of an enricher in one sentence, and one on each thing that it left out."""
    figures = ", ".join(_figure(key, value) for key, value in counts.items() if key not in _APART)
    return [
        f"enrich {name}: {figures}",
        *(str(LeftOut(**each)) for each in counts.get("left_out", ())),
    ]


def _figure(key: str, value: Any) -> str:
    words = _WORDS.get(key) or key.replace("mrr_", "mean reciprocal rank of ").replace("_", " ")
    if key.endswith("_until"):  # seconds since 1970
        whole = value is None or value >= NO_LIMIT
        return f"{words} {'the end of the log' if whole else moment(value)}"
    return f"{words} {value:,}" if isinstance(value, int) else f"{words} {value}"
