"""Training: seeds, resuming to the same losses, early stop, and real processes killed."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from small_catalogue import fill

from omnisearch.data.catalogue.items import read_items
from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.artefacts import pointed
from omnisearch.data.workspace.errors import InputError, NotReady
from omnisearch.encoders.checkpoint import CHECKPOINT, load_encoder
from omnisearch.encoders.config import preset_config, searchsage_config


def losses(reports) -> list[float]:
    return [report.loss for report in reports]


class Stop(Exception):
    pass


def train_until(small, name, config, step, **options) -> list[float]:
    """Losses of a training that ends abruptly after a step."""
    seen: list[float] = []

    def on_step(report) -> None:
        seen.append(report.loss)
        if report.step == step:
            raise Stop

    from omnisearch.encoders.training.run import train

    with pytest.raises(Stop):
        train(small.workspace, small.db, config, name=name, on_step=on_step, **options)
    return seen


def test_training_learns_and_the_seed_fixes_every_loss(small, config, trained) -> None:
    folder, reports = trained
    assert reports[-1].loss < 0.9 * reports[0].loss
    final = [report.recalls for report in reports if report.recalls][-1]
    assert set(final) == {"pin", "product", "query"}
    assert final["query"] > 0.9
    assert [report.step for report in reports] == list(range(1, len(reports) + 1))
    tasks = {"pin", "product", "offsite", "query"}
    tasks |= {"pin/pinsage", "product/itemsage", "offsite/itemsage"}
    assert set(reports[0].losses) == tasks
    again, repeated = small.train("again", config)
    assert losses(repeated) == losses(reports)
    other = train_until(small, "other", replace(config, seed=1), 2)
    assert other != losses(reports)[:2]
    same = load_encoder(small.workspace, "again")
    assert same.checkpoint == load_encoder(small.workspace).checkpoint
    assert again.name != folder.name


@pytest.mark.parametrize("optimiser", ["adamw", "lamb"])
def test_a_resumed_training_has_the_losses_of_an_unbroken_one(small, config, optimiser) -> None:
    config = replace(config, steps=16, valid_every=8, save_every=3, optimiser=optimiser)
    _, whole = small.train(f"whole-{optimiser}", config)
    name = f"broken-{optimiser}"
    first = train_until(small, name, config, 7)  # the last checkpoint is that of step 6
    assert first == losses(whole)[:7]
    second = train_until(small, name, config, 13, resume=True)
    assert second == losses(whole)[6:13]
    _, third = small.train(name, config, resume=True)
    assert losses(third) == losses(whole)[12:]
    ends = (load_encoder(small.workspace, n) for n in (f"whole-{optimiser}", name))
    assert len({encoder.checkpoint for encoder in ends}) == 1


def test_resuming_where_there_is_nothing_begins(small, config) -> None:
    config = replace(config, steps=2, valid_every=2)
    _, reports = small.train("nothing-yet", config, resume=True)
    assert [report.step for report in reports] == [1, 2]
    _, more = small.train("nothing-yet", config, resume=True)
    assert more == []  # it had ended


def test_resuming_needs_the_same_settings_and_the_same_catalogue(small, config, tmp_path) -> None:
    config = replace(config, steps=2, valid_every=2)
    small.train("settings", config)
    with pytest.raises(InputError, match="a different lr"):
        small.train("settings", replace(config, lr=0.5), resume=True)
    workspace = Workspace.create(tmp_path / "w")
    db = fill(workspace)
    from omnisearch.encoders.training.run import train

    train(workspace, db, config)
    with db.conn:
        db.conn.execute("UPDATE pins SET title = 'another' WHERE id = 'pin0003'")
    with pytest.raises(InputError, match="catalogue has changed"):
        train(workspace, db, config, resume=True)


def test_training_stops_early_and_keeps_the_best(small, config) -> None:
    """A rate far too high: the recall soon falls, and never comes back."""
    wild = replace(config, lr=0.05, table_lr=0.5, steps=200, valid_every=2, patience=3)
    folder, reports = small.train("wild", wild)
    assert len(reports) < 200
    recalls = {r.step: np.mean(list(r.recalls.values())) for r in reports if r.recalls}
    best = max(recalls, key=lambda step: (recalls[step], -step))
    assert len(reports) == best + 3 * 2
    assert folder.name.endswith(f"-{best:07d}")
    assert pointed(small.workspace.best_checkpoint("wild"), CHECKPOINT) == folder


def test_an_older_encoder_serves_until_a_new_training_ends(small, config) -> None:
    config = replace(config, steps=4, valid_every=2)
    small.train("serving", config)
    before = load_encoder(small.workspace, "serving").checkpoint
    train_until(small, "serving", replace(config, seed=5), 3)
    assert load_encoder(small.workspace, "serving").checkpoint == before
    small.train("serving", replace(config, seed=5), resume=True)
    assert load_encoder(small.workspace, "serving").checkpoint != before
    base = small.workspace.checkpoints / "serving"
    named = {pointed(base / "BEST", CHECKPOINT), pointed(base / "LAST", CHECKPOINT)}
    assert {path for path in base.iterdir() if path.is_dir()} == named  # nothing is left behind


def test_only_one_process_trains_under_a_name(small, config) -> None:
    base = small.workspace.checkpoints / "locked"
    base.mkdir(parents=True)
    with (base / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="Another process"):
            small.train("locked", config)


def test_tensorboard_logs_are_written_or_the_missing_extra_is_named(
    small, config, monkeypatch
) -> None:
    config = replace(config, steps=2, valid_every=2, tensorboard=True)
    written: list[tuple[str, float, int]] = []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int) -> None:
            assert folder.endswith("tensorboard") and purge_step == 1

        def __enter__(self):
            return self

        def __exit__(self, *_) -> None:
            written.append(("closed", 0.0, 0))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

    module = types.ModuleType("torch.utils.tensorboard")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # cannot be imported
    with pytest.raises(InputError, match=r"omnisearchsage\[tensorboard\]"):
        small.train("board", config)
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    _, reports = small.train("board", config)
    assert ("loss/total", reports[1].loss, 2) in written
    assert ("Recall@10/pin", reports[1].recalls["pin"], 2) in written
    assert written[-1][0] == "closed"


@pytest.mark.parametrize("name", ["", "../other", "a/b", ".hidden"])
def test_names_that_leave_the_folder_are_refused(small, config, name) -> None:
    with pytest.raises(InputError, match="not a valid name"):
        small.train(name, config)


def test_a_handful_of_pairs_is_enough(tmp_path) -> None:
    """One pin, one product, three pairs, all labels of one moment, no features."""
    from omnisearch.data.catalogue.schema import open_catalogue
    from omnisearch.encoders.training.run import train

    workspace = Workspace.create(tmp_path / "w")
    db = open_catalogue(workspace.catalogue, create=True)
    db["pins"].insert({"id": "p", "title": "red sofa"})
    db["products"].insert({"id": "s", "title": "blue lamp"})
    db["queries"].insert_all([{"id": "sofa", "text": "sofa"}, {"id": "lamp", "text": "lamp"}])
    events = [("sofa", "pin", "p", "save"), ("lamp", "product", "s", "save")]
    events.append(("lamp", "product", "s", "add_to_cart"))
    db["engagements"].insert_all(
        {"event": n, "time": 99, "query": q, "entity": e, "item_id": i, "action": a, "count": 1}
        for n, (q, e, i, a) in enumerate(events)
    )
    train(workspace, db, preset_config("tiny", dim=16, steps=4, valid_every=2))
    encoder = load_encoder(workspace)
    assert encoder.feature_dims == {} and encoder.compat_spaces == {}
    vectors = encoder.items(next(read_items(db, "pin")), {})
    assert vectors.shape == (1, 16)
    empty = open_catalogue(Workspace.create(tmp_path / "e").catalogue, create=True)
    with pytest.raises(NotReady):
        train(Workspace(tmp_path / "e"), empty, preset_config("tiny"))


CHILD = """
import json, sys
import torch
torch.set_num_threads(1)
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace
from omnisearch.encoders.config import Config
from omnisearch.encoders.training.run import train

root, log, config = sys.argv[1:]
workspace = Workspace.open(root)
file = open(log, "a")

def on_step(report):
    file.write(json.dumps([report.step, report.loss]) + "\\n")
    file.flush()

train(workspace, open_catalogue(workspace.catalogue), Config(**json.loads(config)), resume=True,
      on_step=on_step)
"""


class Child:
    """A training in a process of its own, which logs its losses."""

    def __init__(self, root: Path, config) -> None:
        self.log = root.parent / "losses.jsonl"
        text = orjson.dumps(config).decode()
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        environment["OMP_NUM_THREADS"] = "1"
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(root), str(self.log), text], env=environment
        )

    def kill_after(self, lines: int, pause: float) -> bool:
        """kill -9 once the log has so many lines and a pause has passed; whether it still ran."""
        while self.process.poll() is None and self.lines() < lines:
            time.sleep(0.002)
        time.sleep(pause)
        alive = self.process.poll() is None
        if alive:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        return alive

    def lines(self) -> int:
        return self.log.read_bytes().count(b"\n") if self.log.exists() else 0


def killed_training(tmp_path: Path, config, kills: int, seed: int) -> tuple[int, dict]:
    """Kill a training at random moments, resume it to its end; returns kills and step → losses."""
    workspace = Workspace.create(tmp_path / "w")
    fill(workspace).conn.close()
    rng = np.random.default_rng(seed)
    done = 0
    for _ in range(kills):
        child = Child(workspace.root, config)
        reached = child.lines() + int(rng.integers(1, 5))
        done += child.kill_after(reached, float(rng.random() * 0.03))
        with pytest.raises(NotReady):  # the workspace opens, and says what to do
            load_encoder(workspace)
    child = Child(workspace.root, config)
    assert child.process.wait() == 0
    seen: dict[int, set[float]] = {}
    for line in child.log.read_text().splitlines():
        step, loss = json.loads(line)
        seen.setdefault(step, set()).add(loss)
    load_encoder(workspace)
    return done, seen


def check_killed(small, config, tmp_path, name: str, kills: int) -> None:
    _, whole = small.train(name, config)
    done, seen = killed_training(tmp_path, config, kills, seed=kills)
    assert done == kills
    # However often a step was run, its loss is the one of the training that nobody killed.
    expected = {step: {report.loss} for step, report in enumerate(whole, 1)}
    assert seen == {step: expected[step] for step in seen}
    # A step is saved before it is told of: each kill can fall between the two, once.
    assert len(expected) - len(seen) <= kills
    assert max(seen) == len(expected)


def test_a_training_killed_by_force_resumes_to_the_same_losses(small, config, tmp_path) -> None:
    config = replace(config, steps=12, valid_every=6, save_every=1)  # most time goes into writing
    check_killed(small, config, tmp_path, "killed-once", 1)


@pytest.mark.slow
def test_a_training_killed_many_times_resumes_to_the_same_losses(small, config, tmp_path) -> None:
    config = replace(config, steps=24, valid_every=12, save_every=1)
    check_killed(small, config, tmp_path, "killed-often", 4)


def test_searchsage_trains_a_query_tower_alone_and_has_nothing_to_index(small, config) -> None:
    _, reports = small.train("searchsage", searchsage_config(config))
    assert set(reports[0].losses) == {"pin/pinsage", "product/itemsage", "offsite/itemsage"}
    assert reports[-1].loss < 0.9 * reports[0].loss
    measured = [report.recalls for report in reports if report.recalls]
    assert set(measured[-1]) == {"pin", "product"}  # in the spaces that it is trained against
    assert measured[-1]["pin"] > 0.3
    encoder = load_encoder(small.workspace, "searchsage")
    items = next(iter(read_items(small.db, "pin")))
    with pytest.raises(InputError, match="no item encoder"):
        encoder.items(items, {})


def test_searchsage_needs_vectors_to_train_against(config, tmp_path) -> None:
    from omnisearch.encoders.training.run import train

    workspace = Workspace.create(tmp_path)
    db = fill(workspace)
    with db.conn:
        db.conn.execute("DELETE FROM item_vectors WHERE name IN ('pinsage', 'itemsage')")
    with pytest.raises(NotReady, match="pinsage or itemsage"):
        train(workspace, db, searchsage_config(config))


def test_a_data_set_without_a_share_is_neither_trained_nor_measured(small, config) -> None:
    pins_only = replace(config, steps=4, mix_product=0.0, mix_offsite=0.0, mix_query=0.0)
    _, reports = small.train("pins", pins_only)
    assert set(reports[0].losses) == {"pin", "pin/pinsage"}
    assert set(reports[-1].recalls) == {"pin"}


def test_a_training_that_does_not_begin_leaves_no_folder(tmp_path, config) -> None:
    from omnisearch.encoders.training.run import train

    workspace = Workspace.create(tmp_path / "w")
    db = fill(workspace)
    with db.conn:
        db.conn.execute("DELETE FROM engagements")
    with pytest.raises((InputError, NotReady)):
        train(workspace, db, config, name="mine")
    assert not workspace.checkpoints.exists()
    (workspace.checkpoints / "other").mkdir(parents=True)
    with pytest.raises((InputError, NotReady)):
        train(workspace, db, config, name="mine")
    assert [path.name for path in workspace.checkpoints.iterdir()] == ["other"]
