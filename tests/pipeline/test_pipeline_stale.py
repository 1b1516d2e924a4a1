"""What is stale is told, and `index update` mends the text vectors."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson
import pytest
from shops import put
from typer.testing import CliRunner

from omnisearch import SearchEngine, Workspace, pipeline
from omnisearch.cli.main import app
from omnisearch.data.catalogue import vectors
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.vectors import open_vectors
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.encoders.text_encoder import TextTower
from omnisearch.enrichment.text import embed_texts
from omnisearch.pipeline.live import LiveIndex
from omnisearch.pipeline.live_texts import LiveTexts
from omnisearch.pipeline.stale import stale
from omnisearch.pipeline.status import workspace_status


def texts(workspace: Workspace) -> dict[str, np.ndarray]:
    db = open_catalogue(workspace.catalogue)
    found = open_vectors(workspace, db, "text", "pin")
    assert found is not None
    rows = dict(zip(found.ids, np.array(found.vectors), strict=True))
    db.conn.close()
    return rows


def ranks(workspace: Workspace, query: str) -> list[str]:
    engine = SearchEngine.open(workspace)
    found = [key for _, key, _ in engine.rank(query, "embedding", 50)]
    engine.close()
    return found


def told(workspace: Workspace, publish: Callable[..., int] = pipeline.update_index) -> list[str]:
    """What an update tells; the seconds that it took are left out."""
    sentences: list[str] = []
    publish(workspace, tell=sentences.append)
    return [re.sub(r": \d+\.\d s\.$", ": SECONDS.", sentence) for sentence in sentences]


def test_an_update_finds_items_by_their_new_words(shop: Workspace, tmp_path: Path) -> None:
    before = texts(shop)
    assert ranks(shop, "oak lamp")[0] == "p00" and workspace_status(shop)["stale"] == []
    put(shop, tmp_path, p00="velvet vase", new="linen mirror", p01=None)
    assert workspace_status(shop)["stale"] == [
        "Stale text vectors of pins: 2 of earlier texts, 1 missing; run `omnisearch enrich text`."
    ]
    assert workspace_status(shop)["lacking"] == {"text of pin": 3}
    assert told(shop) == ["Embedded the texts of 3 new and changed items: SECONDS."]
    assert workspace_status(shop)["stale"] == [] and workspace_status(shop)["lacking"] == {}
    after = texts(shop)
    assert sorted(after) == sorted({*before, "new"} - {"p01"})
    kept = before.keys() - {"p00", "p01"}
    assert all(np.array_equal(before[key], after[key]) for key in kept)
    np.testing.assert_array_equal(after["p00"], before["p24"])  # of the same words
    np.testing.assert_array_equal(after["new"], before["p18"])
    assert ranks(shop, "oak lamp").index("p00") > 10
    assert set(ranks(shop, "velvet vase")[:2]) == {"p00", "p24"}
    assert set(ranks(shop, "linen mirror")[:2]) == {"new", "p18"}


def test_only_changed_texts_are_looked_at_again(
    shop: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    call = TextTower.__call__
    monkeypatch.setattr(
        TextTower, "__call__", lambda self, texts: asked.extend(texts) or call(self, texts)
    )
    shop.text_cache.unlink()
    put(shop, tmp_path, p00="velvet chair oak", p02="oak sofa")  # the second as it was
    assert told(shop) == ["Embedded the texts of 1 new and changed items: SECONDS."]
    assert asked == ["velvet chair oak"]
    asked.clear()
    assert told(shop) == [] and asked == []


@pytest.mark.parametrize("gone", ["removed", "replaced"])
def test_without_the_encoder_the_command_to_run_is_named(
    shop: Workspace, tmp_path: Path, gone: str
) -> None:
    bert = tmp_path / "shop" / "bert"
    if gone == "removed":
        shutil.rmtree(bert)
    else:
        (bert / "model.safetensors").write_bytes(
            (bert / "model.safetensors").read_bytes()[:-4] + b"\0\0\0\1"
        )
    before = texts(shop)
    put(shop, tmp_path, p00="velvet vase", new="linen mirror")
    sentences = told(shop)
    assert sentences[0].startswith("New and changed texts were not embedded: ")
    assert sentences[1:] == [
        "Stale text vectors of pins: 1 of earlier texts, 1 missing; run `omnisearch enrich text`."
    ]
    assert workspace_status(shop)["stale"] == sentences[1:]
    np.testing.assert_array_equal(texts(shop)["p00"], before["p00"])
    assert "new" in ranks(shop, "linen mirror")  # the rest was published


def test_the_commands_print_it(shop: Workspace, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "shop" / "bert")
    put(shop, tmp_path, p00="velvet vase")
    for command in (["status"], ["index", "update"]):
        done = CliRunner().invoke(app, [*command, "--workspace", str(shop.root)])
        assert done.exit_code == 0
        assert "vectors of pins: 1 of earlier texts; run `omnisearch enrich text`." in done.output
        assert ("text of pin 1" in done.output) == (command == ["status"])
        done = CliRunner().invoke(app, [*command, "--json", "--workspace", str(shop.root)])
        data = orjson.loads(done.stdout)["data"]
        assert "earlier texts" in "".join(data["stale" if command == ["status"] else "told"])


def test_an_update_of_nothing_says_so(shop: Workspace, tmp_path: Path) -> None:
    put(shop, tmp_path, p00="velvet vase")
    said = []
    for _ in range(2):
        done = CliRunner().invoke(app, ["index", "update", "--workspace", str(shop.root)])
        said.append(done.output.splitlines()[-1])
    number = SearchEngine.open(shop).generation
    assert said == [
        f"Published generation {number}.",
        f"Nothing has changed: generation {number} stays live.",
    ]


def test_imported_vectors_are_never_stale(shop: Workspace, tmp_path: Path) -> None:
    db = open_catalogue(shop.catalogue)
    mine = np.eye(1, texts(shop)["p00"].size, dtype=np.float32)
    write_vectors(shop, db, "text", "pin", ["p00"], mine)
    write_vectors(shop, db, "image", "pin", ["p00"], np.ones((1, 4)))
    put(shop, tmp_path, p00="velvet vase", p01="brass vase")
    [found] = stale(shop, db)
    assert (found.name, found.items) == ("text", 1)
    told(shop)
    np.testing.assert_array_equal(texts(shop)["p00"], mine[0])
    embed_texts(shop, db, str(tmp_path / "shop" / "bert"))
    np.testing.assert_array_equal(texts(shop)["p00"], mine[0])
    db.conn.close()


def test_a_service_follows_to_another_encoder(shop: Workspace, tmp_path: Path) -> None:
    """What it embeds after `enrich text` is by the new encoder, and that command's rows stay."""
    db, live = open_catalogue(shop.catalogue), LiveTexts(shop)
    put(shop, tmp_path, p00="velvet vase")
    live.embed()
    embed_texts(shop, db, str(tmp_path / "shop" / "bert"), pooling="cls")
    made_by, before = open_vectors(shop, db, "text", "pin").made_by, texts(shop)
    put(shop, tmp_path, p01="brass vase")
    live.embed()
    after = texts(shop)
    assert open_vectors(shop, db, "text", "pin").made_by == made_by
    np.testing.assert_array_equal(after["p00"], before["p00"])
    assert (after["p01"] != before["p01"]).any()
    db.conn.close()


def test_what_a_service_embeds_is_published_by_another_process(
    shop: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That one keeps vectors open, and sees that they are others now."""
    monkeypatch.setattr(vectors, "_kept", {})  # as of `keep_vectors`, in this test alone
    published = LiveIndex(shop)
    put(shop, tmp_path, p00="velvet vase")
    published.publish()
    assert ranks(shop, "velvet vase")[0] == "p24"
    settings = {"workspace": str(shop.root), "parent": os.getpid(), "log": 2}
    command = [sys.executable, "-m", "omnisearch.service.runtime.embedder"]
    process = subprocess.Popen([*command, orjson.dumps(settings).decode()])
    try:
        until = time.monotonic() + 120
        while not published.behind():
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    published.publish()
    assert set(ranks(shop, "velvet vase")[:2]) == {"p00", "p24"}
    published.db.conn.close()


def test_an_export_and_rankers_of_another_checkpoint_are_named(shop: Workspace) -> None:
    db = open_catalogue(shop.catalogue)
    live = SearchEngine.open(shop).snapshot.encoder.checkpoint
    shutil.rmtree(shop.exports)
    for checkpoint, count in (("0123456789abcdef", 2), (live, 0)):
        (shop.exports / checkpoint).mkdir(parents=True)
        folder = shop.rankers / f"of-{checkpoint}"
        folder.mkdir(parents=True)
        (folder / "report.json").write_bytes(orjson.dumps({"checkpoint": checkpoint}))
        shop.current_rankers.write_text(folder.name)
        found = [str(each) for each in stale(shop, db)]
        assert len(found) == count
        if found:
            assert f"0123456789abcdef, the live index is of {live}; run `omnisearch" in found[0]
            assert "`omnisearch export onnx`" in found[0] and "`omnisearch rank train`" in found[1]
    db.conn.close()


def test_vectors_of_before_the_hashes_are_named(shop: Workspace) -> None:
    db = open_catalogue(shop.catalogue)
    with db.conn:
        db.conn.execute("UPDATE item_vectors SET made_sha256 = NULL, made_by = NULL")
    [found] = stale(shop, db)
    assert "earlier OmniSearch" in str(found) and found.command == "omnisearch enrich text"
    assert told(shop) == [str(found)]
    pipeline.enrich(shop, "text")
    assert stale(shop, db) == []
    db.conn.close()
