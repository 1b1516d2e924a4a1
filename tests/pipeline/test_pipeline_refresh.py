"""`refresh`: each step only where something changed, whatever fails or is killed."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from shops import DAY, put

from omnisearch import SearchEngine, Workspace, pipeline
from omnisearch.data.catalogue.feedback import add_events, add_judgments, open_feedback
from omnisearch.data.catalogue.schema import get_meta, open_catalogue
from omnisearch.data.workspace.artefacts import sealed
from omnisearch.data.workspace.errors import Busy, NotReady
from omnisearch.data.workspace.locks import build_lock, locked, publish_lock
from omnisearch.encoders.training.step_report import StepReport
from omnisearch.engine.ads.models import AdModels, load_models
from omnisearch.pipeline import importing, recipe
from omnisearch.pipeline import refresh_rules as rules
from omnisearch.pipeline.refreshing import Refreshed, last_refresh
from omnisearch.pipeline.status import workspace_status
from omnisearch.ranker.calibrated import Calibrated
from omnisearch.ranker.features import feature_names

ALL = (
    *("feedback", "boards", "queries", "models", "text", "graph", "train", "index", "rankers"),
    "ads",
)
Change = Callable[[Workspace, Path], None]


def done(found: Refreshed) -> set[str]:
    """The steps that made something anew; no other may have failed."""
    assert {each.outcome for each in found.steps} <= {"done", "unchanged"}, found
    return {each.step for each in found.steps if each.outcome == "done"}


@pytest.fixture(scope="session")
def steady(made: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The shop after a refresh with trainings: nothing is left to do. Read only."""
    folder = tmp_path_factory.mktemp("steady")
    shutil.copytree(made.root, folder / "workspace")
    workspace = Workspace(folder / "workspace")
    workspace.settings.write_text("[train]\nsteps = 1\nwarm_steps = 30\n")
    assert done(pipeline.refresh(workspace, train=True)) == {"queries", "index"}
    return workspace


@pytest.fixture
def shop(steady: Workspace, tmp_path: Path) -> Workspace:
    """A copy with the same times of files."""
    shutil.copytree(steady.root, tmp_path / "workspace")
    return Workspace(tmp_path / "workspace")


def told(workspace: Workspace, event: str = "e1", grade: float | None = None) -> None:
    """Collect an event as a service does, or a judgment."""
    row = {"query": "oak chair", "entity": "pin", "item_id": "p01", "time": DAY * 20}
    with closing(open_feedback(workspace.feedback, create=True)) as log:
        if grade is None:
            add_events(log, [(event, orjson.dumps({**row, "action": "save"}))], 1)
        else:
            key = orjson.dumps(["oak chair", "pin", "p01", "anna"]).decode()
            add_judgments(log, [(key, orjson.dumps({**row, "judge": "anna", "grade": grade}))], 1)


def product(workspace: Workspace, folder: Path) -> None:
    put(workspace, folder, new="linen mirror")


def deletion(workspace: Workspace, folder: Path) -> None:
    (folder / "deletions.jsonl").write_bytes(b'{"entity": "pin", "id": "p03"}')
    pipeline.import_files(workspace, [folder / "deletions.jsonl"])


def boards(workspace: Workspace, folder: Path) -> None:
    board = {"id": "b", "title": "Warm lights", "items": [{"entity": "pin", "item_id": "p00"}]}
    (folder / "boards.jsonl").write_bytes(orjson.dumps(board))
    pipeline.import_files(workspace, [folder / "boards.jsonl"])


def event(workspace: Workspace, folder: Path) -> None:
    told(workspace)


def judgment(workspace: Workspace, folder: Path) -> None:
    told(workspace, grade=2.0)


def by_hand(workspace: Workspace, folder: Path) -> None:
    """What a refresh would do was done by the commands."""
    put(workspace, folder, new="linen mirror")
    pipeline.update_index(workspace)


CHANGES: list[tuple[Change, set[str], set[str]]] = [
    (product, {"text", "index"}, set()),
    (deletion, {"queries", "index"}, {"train"}),  # its engagement is gone
    (boards, {"boards", "index"}, set()),
    (event, {"feedback", "queries", "index"}, {"train"}),
    (judgment, {"feedback"}, {"rankers"}),
    (by_hand, set(), set()),
]


def test_nothing_changed_costs_nothing(shop: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def called(*_: object, **__: object) -> None:
        raise AssertionError("nothing is to be done")

    for name in ("update_index", "enrich", "train", "train_rankers"):
        monkeypatch.setattr(recipe, name, called)
    monkeypatch.setattr(importing, "import_files", called)
    monkeypatch.setattr("omnisearch.pipeline.refresh_rules.stale", called)
    began = time.process_time()
    found = pipeline.refresh(shop, train=True)
    assert time.process_time() - began < 1.0
    assert [each.step for each in found.steps] == list(ALL) and not done(found)
    assert found.exit_code == 0
    plain = pipeline.refresh(shop)
    assert [each.step for each in plain.steps] == [
        name for name in ALL if name not in ("models", "train", "rankers", "ads")
    ]


@pytest.mark.parametrize(("change", "steps", "trainings"), CHANGES)
def test_each_change_is_answered_by_its_steps_alone(
    shop: Workspace, tmp_path: Path, change: Change, steps: set[str], trainings: set[str]
) -> None:
    change(shop, tmp_path)
    assert done(pipeline.refresh(shop)) == steps
    assert done(pipeline.refresh(shop)) == set()
    trained = pipeline.refresh(shop, train=True)
    assert done(trained) - {"index"} == trainings
    assert ("index" in done(trained)) == ("train" in trainings)
    assert done(pipeline.refresh(shop, train=True)) == set()


def test_after_an_upgrade_what_has_another_form_is_made_anew(shop: Workspace) -> None:
    def changed(path: Path, **facts: Any) -> bytes:
        path.write_bytes(sealed({**orjson.loads(path.read_bytes()), **facts}))
        return path.read_bytes()

    number = int(shop.current.read_text())
    changed(shop.generation(number) / "manifest.json", format=1)
    changed(shop.refresh_report, seen={"imports": 1, "files": []})  # of a version before this one
    assert done(pipeline.refresh(shop)) == {"index"}
    assert int(shop.current.read_text()) == number + 1
    assert done(pipeline.refresh(shop)) == set()

    run = rules.Run(shop, None, {})
    folder = shop.rankers / "made"
    folder.mkdir(parents=True)
    shop.current_rankers.write_text(folder.name)
    with rules.catalogue(shop) as db:
        checkpoint, learned_from = rules.rankers_would_learn_from(run, db)
        report = {"checkpoint": checkpoint, "learned_from": learned_from}
        (folder / "report.json").write_bytes(orjson.dumps(report))
        for features, due in ((feature_names(), False), (feature_names()[1:], True)):
            (folder / "manifest.json").write_bytes(orjson.dumps({"features": features}))
            assert rules.rankers_due(run, db) == due


def test_what_is_new_is_found_and_a_withdrawn_judgment_is_gone(
    shop: Workspace, tmp_path: Path
) -> None:
    product(shop, tmp_path)
    told(shop, grade=2.0)
    pipeline.refresh(shop)
    engine = SearchEngine.open(shop)
    assert "new" in {hit.id for hit in engine.search("linen mirror").hits}
    engine.close()
    with closing(open_feedback(shop.feedback)) as log:
        key = orjson.dumps(["oak chair", "pin", "p01", "anna"]).decode()
        add_judgments(log, [(key, b'{"grade": null}')], 2)
    assert done(pipeline.refresh(shop)) == {"feedback"}
    db = open_catalogue(shop.catalogue)
    assert db["judgments"].count == 0
    db.conn.close()


def test_a_step_that_fails_does_not_stop_the_others(shop: Workspace, tmp_path: Path) -> None:
    product(shop, tmp_path)
    shop.feedback.write_bytes(b"no database" * 1000)
    found = pipeline.refresh(shop)
    outcomes = {each.step: each.outcome for each in found.steps}
    assert outcomes["feedback"] == "failed" and outcomes["index"] == outcomes["text"] == "done"
    assert found.failed == ["feedback"] and found.exit_code == 6
    [sentence] = found.steps[0].told
    assert str(shop.feedback) in sentence and "Put back a copy" in sentence
    assert workspace_status(shop)["last_refresh"]["failed"] == ["feedback"]
    shop.feedback.unlink()
    assert done(pipeline.refresh(shop)) == set()
    assert workspace_status(shop)["last_refresh"]["failed"] == []


def test_rankers_wait_for_an_index_that_failed(
    shop: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> int:
        raise RuntimeError("a library fell over")

    product(shop, tmp_path)
    told(shop, grade=1.0)
    monkeypatch.setattr(recipe, "update_index", failing)
    found = pipeline.refresh(shop, train=True)
    outcomes = {each.step: each for each in found.steps}
    assert outcomes["index"].outcome == "failed" and outcomes["rankers"].outcome == "left out"
    assert outcomes["index"].told[0].startswith("omnisearch index update: ")
    assert "a library fell over" in outcomes["index"].told[0]
    monkeypatch.undo()
    assert done(pipeline.refresh(shop)) == {"index"}


def test_without_the_encoder_texts_fail_and_the_rest_is_published(
    made: Workspace, shop: Workspace, tmp_path: Path
) -> None:
    db = open_catalogue(shop.catalogue)
    gone = orjson.dumps({"backbone": str(tmp_path / "gone")}).decode()
    with db.conn:
        db.conn.execute(
            "UPDATE meta SET value = json_patch(value, ?) WHERE key = 'text_encoder'", [gone]
        )
    db.conn.close()
    product(shop, tmp_path)
    found = pipeline.refresh(shop)
    assert found.failed == ["text"] and found.steps[-1].outcome == "done"
    assert pipeline.refresh(shop).failed == ["text"]  # until it is mended


def test_two_at_once(shop: Workspace) -> None:
    with locked(shop.refresh_lock), pytest.raises(Busy, match="Another refresh") as error:
        pipeline.refresh(shop)
    assert error.value.exit_code == 5
    pipeline.refresh(shop)


@pytest.mark.parametrize("lock", [publish_lock, build_lock])
def test_the_index_waits_for_another_process(shop: Workspace, tmp_path: Path, lock: Any) -> None:
    product(shop, tmp_path)
    if lock is build_lock:
        shop.current.unlink()  # then the update is a build
    held, ended = threading.Event(), []

    def publish() -> None:
        with lock(shop):
            held.set()
            time.sleep(3)
            ended.append(time.monotonic())

    thread = threading.Thread(target=publish)
    thread.start()
    held.wait()
    assert done(pipeline.refresh(shop)) == {"text", "index"}
    assert ended and time.monotonic() > ended[0]
    thread.join()


def test_rankers_that_came_to_nothing_are_tried_once(
    shop: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []
    monkeypatch.setattr(recipe, "train_rankers", lambda *_: tried.append(1) or (None, None))
    told(shop, grade=1.0)
    for _ in range(2):
        found = pipeline.refresh(shop, train=True)
    assert len(tried) == 1
    told(shop, grade=2.0)
    found = pipeline.refresh(shop, train=True)
    [rankers] = [each for each in found.steps if each.step == "rankers"]
    assert len(tried) == 2 and "not live" in rankers.told[0]


def advertise(workspace: Workspace, folder: Path) -> None:
    campaign = {"id": "spring", "bid": 1.0, "items": [{"entity": "pin", "id": "p01"}]}
    (folder / "campaigns.jsonl").write_bytes(orjson.dumps(campaign))
    pipeline.import_files(workspace, [folder / "campaigns.jsonl"])


def test_models_of_ads_are_trained_where_there_are_campaigns_and_news(
    shop: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, zeros = feature_names(), np.zeros(len(feature_names()), np.float32)
    points = np.array([0, 1], np.float32)
    model = Calibrated(names, zeros, zeros, zeros, 0.5, points, points)
    monkeypatch.setattr(
        "omnisearch.engine.ad_training.train_ad_models", lambda *_: AdModels(None, model, {})
    )
    monkeypatch.setattr(recipe, "train_rankers", lambda *_: (None, None))

    def trained() -> bool:
        found = pipeline.refresh(shop, train=True)
        assert not found.failed
        return "ads" in done(found)

    told(shop, grade=1.0)
    assert not trained() and not shop.ad_models.exists()
    advertise(shop, tmp_path)
    assert trained()
    models = load_models(shop)
    assert models is not None and models.relevance is not None
    assert not trained()
    told(shop, grade=2.0)
    assert "ads" not in done(pipeline.refresh(shop)) and trained() and not trained()
    shop.ad_models.write_bytes(b"damaged")
    assert trained() and load_models(shop) is not None


def test_models_of_ads_that_came_to_nothing_are_tried_once(
    shop: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advertise(shop, tmp_path)
    found = pipeline.refresh(shop, train=True)
    assert found.steps[-1].outcome == "unchanged" and not found.failed
    assert "too little to learn the models of ads" in found.steps[-1].told[0]
    monkeypatch.setattr(recipe, "train_ads", lambda *_: pytest.fail("it was tried"))
    assert not pipeline.refresh(shop, train=True).failed


@pytest.mark.parametrize("meanwhile", [False, True])
def test_an_interrupted_training_goes_on(
    shop: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: bool
) -> None:
    def killed(step: StepReport) -> None:
        if step.step == 3:
            raise KeyboardInterrupt

    shop.settings.write_text(
        "[train]\nsteps = 5\nsave_every = 1\nwarm_steps = 30\nwarm_passes = 99\n"
    )
    told(shop)
    pipeline.refresh(shop)
    with pytest.raises(KeyboardInterrupt):
        pipeline.train(shop, "tiny", on_step=killed)
    if meanwhile:
        told(shop, "e2")
        put(shop, tmp_path, p00="velvet vase")
    train, resumed = recipe.train, []

    def spy(*args: Any, **options: Any) -> Path:
        resumed.append(options["resume"])
        return train(*args, **options)

    monkeypatch.setattr(recipe, "train", spy)
    assert "train" in done(pipeline.refresh(shop, train=True))
    assert resumed == ([True, False] if meanwhile else [True])
    assert done(pipeline.refresh(shop, train=True)) == set()


def test_what_is_imported_while_it_runs_is_seen_by_the_next(
    shop: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = recipe.update_index

    def then_import(*args: Any) -> int:
        number = update(*args)
        put(shop, tmp_path, late="brass lamp")
        return number

    put(shop, tmp_path, new="linen mirror")
    with monkeypatch.context() as patch:
        patch.setattr(recipe, "update_index", then_import)
        pipeline.refresh(shop)
    assert done(pipeline.refresh(shop)) == {"text", "index"}
    assert done(pipeline.refresh(shop)) == set()


def without_text_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("enrichment.text", "pipeline.encoder"):
        monkeypatch.setattr(f"omnisearch.{module}.installed", lambda name: False)


def test_a_user_who_asked_for_the_whole_log_keeps_it(
    tiny_workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_text_encoder(monkeypatch)
    shutil.copytree(tiny_workspace.root, tmp_path / "workspace")
    shop = Workspace(tmp_path / "workspace")
    pipeline.enrich(shop, "queries", until=2**62, window_days=900)
    db = open_catalogue(shop.catalogue)
    pin, end = db.conn.execute(
        "SELECT (SELECT id FROM pins), MAX(time) + 60 FROM engagements"
    ).fetchone()
    row = {"query": "quite new", "entity": "pin", "item_id": pin, "time": end, "action": "save"}
    (tmp_path / "engagements.jsonl").write_bytes(orjson.dumps(row))
    pipeline.import_files(shop, [tmp_path / "engagements.jsonl"])
    assert done(pipeline.refresh(shop)) == {"queries", "index"}  # of words alone
    assert done(pipeline.refresh(shop)) == set()
    assert get_meta(db, "engaged_until") == end + 1
    assert get_meta(db, "engaged_from")["window_days"] == 900
    db.conn.close()


@pytest.mark.slow  # trains graph networks, encoders and rankers
def test_the_first_refresh_with_training_makes_everything(
    tiny_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_text_encoder(monkeypatch)
    shop = Workspace(tmp_path / "workspace")
    pipeline.import_files(shop, [tiny_world])
    shop.settings.write_text('[train]\nsteps = 2\nbatch_pairs = 64\nbackbone = ""\n')
    found = pipeline.refresh(shop, train=True)
    assert done(found) >= {"boards", "queries", "models", "train", "index", "rankers"}
    assert done(pipeline.refresh(shop, train=True)) == set()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"report": {"began": 3}, "seen": 1}', b"\xff"])
def test_a_damaged_report_is_no_obstacle(shop: Workspace, content: bytes) -> None:
    shop.refresh_report.write_bytes(content)
    assert last_refresh(shop) is None and workspace_status(shop)["last_refresh"] is None
    assert done(pipeline.refresh(shop)) == set()
    assert last_refresh(shop) is not None


def test_nothing_imported(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="omnisearch import"):
        pipeline.refresh(tmp_path / "none")
