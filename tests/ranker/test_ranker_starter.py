"""The starter ranker: its file, and rankers that lean to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
from ranking_samples import ranking_data

from omnisearch.data.workspace.errors import Corrupt
from omnisearch.ranker import starter as module
from omnisearch.ranker.features import feature_names, l1_names
from omnisearch.ranker.l1 import Linear
from omnisearch.ranker.lists import informative_lists
from omnisearch.ranker.starter import FILE, starter


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in place of the package's."""
    monkeypatch.setattr(module, "FILE", tmp_path / "starter.json")
    monkeypatch.setattr(module, "starter", module.starter.__wrapped__)
    return tmp_path / "starter.json"


def test_its_features_are_computed_and_seen_by_l1() -> None:
    assert set(starter().names) <= set(l1_names())


def test_it_reads_no_count_and_no_raw_score() -> None:
    """Their scale is that of one catalogue."""
    assert not set(starter().names) & {"bm25", "engaged_match", "log_price", "query_words"}


def test_its_card_names_sets_whose_licences_permit_to_ship_it() -> None:
    card = orjson.loads(FILE.read_bytes())["card"]
    assert {each["licence"] for each in card["sets"].values()} <= {
        "Apache-2.0",
        "CC BY 4.0",
        "CC0",
    }
    assert set(card["sets"]) == {"esci", "coco", "tate"} and card["command"].startswith("python ")


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1]", b'{"l1": {}, "card": {}}'])
def test_a_missing_or_damaged_file_is_told(file: Path, content: bytes | None) -> None:
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Corrupt, match=r"starter\.json: The starter ranker .* Install"):
        module.starter()


def test_a_feature_that_is_not_computed_is_told(file: Path) -> None:
    file.write_bytes(FILE.read_bytes().replace(b'"learned"', b'"cosine"'))
    with pytest.raises(Corrupt, match=r"starter ranker cannot be read .*cosine"):
        module.starter()


def test_rankers_of_few_labels_order_as_it_does_whatever_is_unknown() -> None:
    """Their data has other means, which replace unknown values."""
    lists = informative_lists(ranking_data(30), "engagement")
    X = lists.X.copy()
    X[::3, feature_names().index("learned")] = np.nan
    leaning = Linear.fit([lists], l1_names(), 1e6, starter())
    less = leaning.score(X) - starter().score(X)
    assert np.ptp(less) < 1e-2
