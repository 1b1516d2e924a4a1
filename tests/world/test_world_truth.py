"""The hidden side of a sample world is the one that its files were made from."""

from __future__ import annotations

import numpy as np
import orjson
import pytest

from omnisearch import pipeline
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import Corrupt
from omnisearch.pipeline.verify import verify_workspace
from omnisearch.world import Size, generate
from omnisearch.world.truth import Truth


def lines(path) -> list[dict]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_judges_follow_the_truth_made_again_from_the_seed(tmp_path) -> None:
    generate(Size(300), tmp_path / "world", seed=3, pictures=False)
    truth = Truth.of(300, seed=3)
    rows = [row for row in lines(tmp_path / "world" / "judgments.jsonl") if row["judge"] == "j1"]
    pairs = [(normalise_query(row["query"]), row["item_id"]) for row in rows]
    grades, foreign = truth.grades(pairs)
    given = np.array([row["grade"] for row in rows])
    assert len(given) > 300
    assert (grades == given).mean() > 0.9  # j1 errs now and then
    assert np.abs(grades - given).max() <= 1
    assert 0 < foreign.mean() < 1


def test_the_truth_is_written_with_the_world_and_kept_by_its_import(tmp_path) -> None:
    generate(Size(300), tmp_path / "world", seed=3, pictures=False)
    workspace = Workspace(tmp_path / "workspace")
    pipeline.import_files(workspace, [tmp_path / "world"])
    kept, made = Truth.read(workspace.truth), Truth.of(300, seed=3)
    assert kept.query_of == made.query_of and kept.item_of == made.item_of
    for query in range(20):
        assert (kept.grades_of_all(query) == made.grades_of_all(query)).all()
        assert (kept.chances(query) == made.chances(query)).all()
    assert "truth" not in {path.stem for path in (tmp_path / "workspace/item_vectors").iterdir()}
    content = workspace.truth.read_bytes()
    for damaged in (content[:-100], content[:-9] + b"x" + content[-8:], b"", b"{}" * 50):
        workspace.truth.write_bytes(damaged)
        with pytest.raises(Corrupt, match="truth of the sample world"):
            Truth.read(workspace.truth)
        assert any("truth" in problem for problem in verify_workspace(workspace).problems)


def test_every_query_has_an_interest_and_its_path_is_one_of_the_tree(tmp_path) -> None:
    generate(Size(300), tmp_path / "world", seed=3, pictures=False)
    interests = dict(Truth.of(300, seed=3).interests())
    texts = {normalise_query(row["text"]) for row in lines(tmp_path / "world" / "queries.jsonl")}
    assert set(interests) == texts
    assert {len(path) for path in interests.values()} == {1, 2, 3}
    parents = {(path[1], path[0]) for path in interests.values() if len(path) > 1}
    assert len({family for family, _ in parents}) == len(parents)
