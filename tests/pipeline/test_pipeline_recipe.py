"""The recipe in Python does what the commands do, and says what is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omnisearch import SearchEngine, Workspace, pipeline
from omnisearch.cli.rank import show
from omnisearch.data.workspace.errors import InputError, NotReady
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.ranker import training

DOCS = Path(__file__).parents[2] / "docs/guide/pipeline.md"
MAIN = "from omnisearch.cli.main import main; main()"


def omnisearch(workspace: Workspace, *words: str) -> None:
    command = [sys.executable, "-c", MAIN, *words, "--workspace", str(workspace.root)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def answers(workspace: Workspace) -> list:
    engine = SearchEngine.open(workspace)
    found = [engine.rank(query, k=20) for query in ("boho bedroom", "red dress", "zimmer")]
    engine.close()
    return found


@pytest.mark.slow
def test_the_functions_and_the_commands_give_the_same_results(
    trained: Workspace, tmp_path: Path
) -> None:
    ours, theirs = Workspace(tmp_path / "ours"), Workspace(tmp_path / "theirs")
    for copy in (ours, theirs):
        shutil.copytree(trained.root, copy.root)
    _, folder = pipeline.train_rankers(ours)
    omnisearch(theirs, "rank", "train")
    assert (theirs.rankers / "CURRENT").read_text().strip() == folder.name
    assert answers(theirs) == answers(ours)
    # The graph of an HNSW index depends on its threads: the vectors in it are what must agree.
    omnisearch(theirs, "train", "--preset", "tiny", "--steps", "4")
    omnisearch(theirs, "index", "rebuild")
    assert load_encoder(theirs).checkpoint == load_encoder(ours).checkpoint
    assert theirs.current.read_text().strip() == "2"
    for path in (ours.generations / "1").rglob("*.npy"):
        again = theirs.generations / "2" / path.relative_to(ours.generations / "1")
        assert again.read_bytes() == path.read_bytes(), path


def test_rankers_that_lose_to_simpler_orders_do_not_go_live(
    trained: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    workspace = Workspace(tmp_path / "w")
    shutil.copytree(trained.root, workspace.root)
    monkeypatch.setattr(training, "chosen_order", lambda values: "")
    rankers, folder = pipeline.train_rankers(workspace, best=10, others=10)
    assert folder is None and not workspace.current_rankers.exists()
    show(rankers.report, folder)
    assert "are not live" in " ".join(capsys.readouterr().out.split())
    monkeypatch.setattr(training, "chosen_order", lambda values: "l1")
    rankers, folder = pipeline.train_rankers(workspace, best=10, others=10)
    show(rankers.report, folder)
    assert "L1 orders the full stack" in " ".join(capsys.readouterr().out.split())
    engine = SearchEngine.open(workspace)
    hits = engine.search("boho bedroom", explain=True).hits
    engine.close()
    assert hits and all(hit.explain and hit.explain["l2"] is None for hit in hits)


@pytest.mark.slow
def test_the_examples_of_the_documentation_run(tiny_world: Path, tmp_path: Path) -> None:
    (tmp_path / "files").symlink_to(tiny_world)
    (tmp_path / "new").mkdir()
    row = '{"id": "new-lamp", "title": "zyzzyva lamp"}\n'
    (tmp_path / "new/products.jsonl").write_text(row)
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    short = {"STEPS": "4", "BATCH_PAIRS": "64", "WARM_STEPS": "0", "VALID_PAIRS": "100"}
    ran = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)],
        cwd=tmp_path,
        env=os.environ | {f"OMNISEARCH_TRAIN_{key}": value for key, value in short.items()},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert "1 rows changed\ngeneration 2\n" in ran.stdout
    shop = Workspace.open(tmp_path / "shop")
    assert pipeline.update_index(shop) == 3  # nothing changed since
    engine = SearchEngine.open(shop)
    assert engine.rank("zyzzyva lamp", "token")[0][1] == "new-lamp"
    assert engine.search("boho bedroom").notes == []  # rankers are there


def test_imports_by_kind_format_mapping_and_folder(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "stock.csv").write_text("id,name\na,Lamp\nb,Sofa\n,Nameless\n")
    seen: list[tuple[int, int]] = []
    [report] = pipeline.import_files(
        workspace,
        [str(tmp_path / "stock.csv")],
        kind="products",
        mapping={"title": "name"},
        progress=lambda done, total: seen.append((done, total)),
    )
    assert (report.taken, report.refused) == (2, 1)
    assert seen
    feed = tmp_path / "feed.tsv"
    feed.write_text("id\ttitle\tlink\tprice\nc\tChair\thttps://example.org/c\t10.00 USD\n")
    [report] = pipeline.import_files(workspace.root, [feed], format="google")
    assert report.taken == 1
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "pins.jsonl").write_text('{"id": "p", "title": "A pin"}\n')
    assert [report.kind for report in pipeline.import_files(workspace, [folder])] == ["pins"]


def test_a_path_that_does_not_exist_stops_the_import_before_it_begins(tmp_path: Path) -> None:
    there = tmp_path / "pins.jsonl"
    there.write_text('{"id": "p", "title": "A pin"}\n')
    with pytest.raises(InputError, match="no such file"):
        pipeline.import_files(tmp_path / "shop", [there, tmp_path / "typo.jsonl"])
    assert not (tmp_path / "shop").exists()


@pytest.mark.parametrize(
    "stage",
    [
        pipeline.enrich,
        pipeline.train,
        pipeline.build_index,
        pipeline.update_index,
        pipeline.train_rankers,
        pipeline.evaluate,
    ],
)
def test_before_the_import_every_stage_says_so(
    stage: Callable[[Workspace], object], workspace: Workspace
) -> None:
    with pytest.raises(NotReady, match="no catalogue"):
        stage(workspace)


def test_each_stage_names_the_one_that_is_missing(tiny_workspace: Workspace) -> None:
    with pytest.raises(NotReady) as untrained:
        pipeline.build_index(tiny_workspace, "other")
    assert "omnisearch train" in untrained.value.how
    with pytest.raises(NotReady) as unindexed:
        pipeline.train_rankers(tiny_workspace)
    assert "omnisearch index build" in unindexed.value.how


def test_wrong_names_and_settings_are_told_with_the_right_ones(tiny_workspace: Workspace) -> None:
    with pytest.raises(InputError, match="boards, queries"):
        pipeline.enrich(tiny_workspace, "captoins")
    with pytest.raises(InputError, match="paper, demo, tiny"):
        pipeline.train(tiny_workspace, "huge")
    with pytest.raises(TypeError, match="stepz"):
        pipeline.train(tiny_workspace, "tiny", stepz=4)


def test_enrichers_run_by_name_with_their_options(
    tiny_workspace: Workspace, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "workspace")
    shutil.copytree(tiny_workspace.root, workspace.root)
    counts = pipeline.enrich(workspace, "boards", "queries")  # as they already are
    assert list(counts) == ["boards", "queries"]
    assert counts["boards"]["items_changed"] == counts["queries"]["items_changed"] == 0
    assert pipeline.enrich(workspace, "queries", until=2**62)["queries"]["items_changed"] > 0


def test_importing_the_pipeline_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'numpy', 'pyarrow', 'sqlite_utils', 'lightgbm'}"
    code = f"import sys, omnisearch.pipeline; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
