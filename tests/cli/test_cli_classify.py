"""`omnisearch classify` as a user runs it, on a barely trained workspace."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from commandline import omnisearch

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import sealed


def labels_file(folder: Path) -> Path:
    path = folder / "interests.csv"
    rows = [f"{n} {thing},{room} > {thing}" for n in range(60) for thing, room in KNOWN.items()]
    path.write_text("\n".join(["query,label", *rows, "no label,"]) + "\n")
    return path


KNOWN = {"sofa": "living", "lamp": "living", "rake": "garden", "tree": "garden"}


def test_train_predict_and_a_checkpoint_that_changed(trained: Workspace, tmp_path: Path) -> None:
    space = tmp_path / "ws"
    shutil.copytree(trained.root, space)
    labels = labels_file(tmp_path)
    early = omnisearch("classify", "predict", "sofa", "-w", space, check=False)
    assert early.returncode == 3
    assert "classify train" in " ".join(early.stderr.split())
    done = omnisearch("classify", "train", labels, "-w", space)
    assert "line 242: label is missing" in " ".join(done.stderr.split())
    found = omnisearch("classify", "predict", "7 sofa", "a rake", "-w", space, "-k", 2, "--json")
    answers = json.loads(found.stdout)["data"]
    assert [answer["query"] for answer in answers] == ["7 sofa", "a rake"]
    for answer in answers:
        assert [node["level"] for node in answer["nodes"]] == [1, 1, 2, 2]
        assert abs(sum(node["share"] for node in answer["nodes"][:2]) - 1) < 1e-5
    assert "level" in omnisearch("classify", "predict", "sofa", "-w", space).stdout
    best = space / "checkpoints" / "default" / "BEST"
    card = space / "checkpoints" / "default" / best.read_text().strip() / "manifest.json"
    manifest = json.loads(card.read_text())
    # Another list of files is another checkpoint.
    manifest["files"]["empty"] = {"bytes": 0, "sha256": hashlib.sha256().hexdigest()}
    card.with_name("empty").touch()
    card.write_bytes(sealed(manifest))
    failed = omnisearch("classify", "predict", "sofa", "-w", space, check=False)
    assert failed.returncode == 3
    assert "another checkpoint" in " ".join(failed.stderr.split())


def test_evaluate_writes_the_report(trained: Workspace, tmp_path: Path) -> None:
    page = tmp_path / "report.md"
    labels = labels_file(tmp_path)
    done = omnisearch(
        *("classify", "evaluate", labels, "-w", trained.root),
        *("--seeds", 1, "--markdown", page, "--json"),
    )
    report = json.loads(done.stdout)["data"]
    assert {"majority", "query tower"} <= {system["name"] for system in report["systems"]}
    assert "| query tower |" in page.read_text()
