"""What comes next in a workspace."""

from __future__ import annotations

import numpy as np

from omnisearch.data.catalogue.schema import open_catalogue, set_meta
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.workspace import Workspace
from omnisearch.pipeline.status import workspace_status


def done(workspace: Workspace, *steps: str) -> None:
    for step in steps:
        path = workspace.root / step
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")


def test_each_step_waits_for_the_one_before(tmp_path) -> None:
    workspace = Workspace.create(tmp_path / "workspace")
    db = open_catalogue(workspace.catalogue, create=True)
    assert workspace_status(workspace)["next"] == "omnisearch import FILES"
    db["pins"].insert({"id": "p1", "title": "Sofa"})
    db.conn.execute(
        "INSERT INTO engagements (time, query, entity, item_id, action, count) "
        "VALUES (1, 'sofa', 'pin', 'p1', 'save', 1)"
    )
    db.conn.commit()
    assert workspace_status(workspace)["next"] == "omnisearch index build"
    done(workspace, "CURRENT")
    assert workspace_status(workspace)["next"] == "omnisearch enrich"
    set_meta(db, "engaged_until", 2)
    db.conn.commit()
    for step, command in (
        ("checkpoints/default/1/manifest.json", "omnisearch train"),
        ("checkpoints/default/BEST", "omnisearch train"),
        ("generations/1/encoder/manifest.json", "omnisearch index build"),
        ("rankers/CURRENT", "omnisearch rank train"),
    ):
        found = workspace_status(workspace)
        assert found["next"] == command and found["starter_ranker"]
        done(workspace, step)
    found = workspace_status(workspace)
    assert found["next"] is None and not found["starter_ranker"]


def test_without_a_log_there_are_no_rankers_to_train(tmp_path) -> None:
    workspace = Workspace.create(tmp_path / "workspace")
    db = open_catalogue(workspace.catalogue, create=True)
    db["products"].insert({"id": "s1", "title": "Sofa"})
    assert workspace_status(workspace)["next"] == "omnisearch index build"
    done(workspace, "CURRENT")
    assert workspace_status(workspace)["next"] == "omnisearch enrich"
    write_vectors(workspace, db, "text", "product", ["s1"], np.ones((1, 4), np.float32))
    done(workspace, "checkpoints/default/BEST", "CURRENT")
    assert workspace_status(workspace)["next"] is None
