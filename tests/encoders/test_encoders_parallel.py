"""Two real processes that train one model: as one process would, and none left behind alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from one_step import gradients
from safetensors.torch import load_file
from small_catalogue import fill

from omnisearch.data.workspace import Workspace
from omnisearch.encoders.checkpoint import load_encoder
from omnisearch.encoders.training.parallel import Group
from omnisearch.encoders.training.prepare import prepare

HERE = Path(__file__).parent


def start(*arguments: object) -> list[subprocess.Popen[str]]:
    """Two processes of parallel_worker.py that know of each other, as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join((str(HERE.parents[1]), str(HERE))),
    }
    command = [sys.executable, str(HERE / "parallel_worker.py"), *map(str, arguments)]
    return [
        subprocess.Popen(
            command,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def ended(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """(exit status, stderr) of each."""
    errors = [process.communicate(timeout=120)[1] for process in processes]
    return [(process.returncode, error) for process, error in zip(processes, errors, strict=True)]


def text(config) -> str:
    return json.dumps(asdict(config))


def test_two_processes_have_the_gradients_and_losses_of_one(small, config, tmp_path) -> None:
    dropped = replace(
        config, chunk_items=17, chunk_queries=13, feature_dropout=0.3, field_dropout=0.2
    )
    still = replace(config, query_dropout=0.0)
    cases = [
        dropped,
        replace(dropped, cached_gradients=True),
        still,  # each process encodes its half at once
        replace(still, batch_pairs=4, chunk_items=50, chunk_queries=50),
    ]
    configs = json.dumps([asdict(case) for case in cases])
    both = ended(start("steps", small.workspace.root, tmp_path, configs))
    assert [code for code, _ in both] == [0, 0], both
    for number, case in enumerate(cases):
        alone = gradients(prepare(small.workspace, small.db, case, None), case)
        first, second = (load_file(tmp_path / f"{number}-{rank}.safetensors") for rank in (0, 1))
        assert alone.keys() == first.keys() == second.keys()
        assert {"item.hash.table", "item.hash.weights", "loss of product/itemsage"} <= alone.keys()
        for name, gradient in alone.items():
            assert torch.equal(first[name], second[name]), name
            torch.testing.assert_close(first[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.slow
def test_a_killed_process_ends_the_other_and_both_resume_to_the_same_losses(
    small, config, tmp_path
) -> None:
    config = replace(
        config, steps=16, valid_every=8, save_every=2, chunk_items=17, chunk_queries=13
    )
    _, alone = small.train("alone", config)
    workspace = Workspace.create(tmp_path / "w")
    fill(workspace).conn.close()
    log = tmp_path / "losses.jsonl"
    processes = start("train", workspace.root, log, text(config))
    while not log.exists() or log.read_bytes().count(b"\n") < 5:
        assert all(process.poll() is None for process in processes)
        time.sleep(0.005)
    processes[1].send_signal(signal.SIGKILL)
    (code, told), (killed, _) = ended(processes)
    assert killed == -signal.SIGKILL and code == 1
    assert "Another process of this training has ended" in told and "--resume" in told
    assert [code for code, _ in ended(start("train", workspace.root, log, text(config)))] == [0, 0]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {step for step, _ in lines} == set(range(1, 17))
    assert len(lines) < 2 * 16  # it went on, and did not begin again
    for step, loss in lines:
        assert loss == pytest.approx(alone[step - 1].loss, rel=1e-3)
    load_encoder(workspace)


def test_what_each_process_gets_is_everything_once() -> None:
    for size in (1, 2, 3, 5):
        group = [Group(rank, size) for rank in range(size)]
        for total in (0, 1, 4, 7, 100):
            assert sorted(row for one in group for row in one.rows(total)) == list(range(total))
            for wanted in (0, 3, 1000):
                chunk = group[0].chunk_size(total, wanted)
                dealt = [place for one in group for place in one.places(total, chunk)]
                assert sorted(dealt) == list(range(total))
                assert not wanted or chunk <= wanted
                if total == 100:
                    assert all(len(one.places(total, chunk)) for one in group)


@pytest.mark.slow
def test_torchrun_starts_the_command_line(tmp_path) -> None:
    workspace = Workspace.create(tmp_path / "w")
    fill(workspace).conn.close()
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--no-python", str(Path(sys.executable).with_name("omnisearch")), "train"]
    command += ["--preset", "tiny", "--steps", "4", "--json"]
    done = subprocess.run(
        [*command, "--workspace", str(workspace.root)],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["data"]["checkpoint"]  # one process speaks
    assert "processes: 2" in (load_encoder(workspace).folder / "README.md").read_text()
