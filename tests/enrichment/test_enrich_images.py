"""Captions and image embeddings by tiny real models: cache, refusals, URLs, kills."""

from __future__ import annotations

import http.server
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")

from enrich_vision_models import picture, save_blip, save_clip, save_vit

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.catalogue.vectors import open_vectors
from omnisearch.data.catalogue.vectors_write import write_vectors
from omnisearch.data.workspace.errors import Corrupt, InputError
from omnisearch.enrichment import fetching, pictures
from omnisearch.enrichment.captions import caption_images
from omnisearch.enrichment.images import embed_images
from omnisearch.enrichment.pictures import Refused, decode, read_bytes
from omnisearch.enrichment.vision_models import Cache
from omnisearch.pipeline.stale import stale


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    return save_blip(tmp_path_factory.mktemp("models") / "blip")


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    return save_vit(tmp_path_factory.mktemp("models") / "vit")


@pytest.fixture
def images(tmp_path):
    return tmp_path / "images"


@pytest.fixture
def db(workspace):
    db = open_catalogue(workspace.catalogue, create=True)
    yield db
    db.conn.close()


def items(db, *rows):
    """Rows are (table, id, image, caption)."""
    with db.conn:
        for table, *values in rows:
            sql = f"INSERT INTO {table} (id, image, caption) VALUES (?, ?, ?)"
            db.conn.execute(sql, values)


def captions(db):
    return dict(
        db.conn.execute("SELECT id, caption FROM pins UNION ALL SELECT id, caption FROM products")
    )


def test_pins_and_products_without_a_caption_get_one(workspace, db, images, blip):
    names = [picture(images / f"{n}.png", n) for n in range(3)]
    items(
        db,
        ("pins", "p0", names[0], None),
        ("pins", "p1", names[1], "by a person"),
        ("pins", "p2", None, None),
        ("products", "g0", names[2], ""),
    )
    seen = []
    counts = caption_images(
        workspace, db, blip, images, progress=lambda done, total: seen.append((done, total))
    )
    assert counts == {"captioned": 2, "computed": 2, "from_cache": 0, "refused": 0}
    found = captions(db)
    assert found["p1"] == "by a person" and found["p2"] is None
    assert found["p0"] and found["g0"] and "[" not in found["p0"] + found["g0"]
    assert seen[-1] == (2, 2)
    assert caption_images(workspace, db, blip, images)["captioned"] == 0


def test_one_picture_is_captioned_once_however_many_items_show_it(workspace, db, images, blip):
    picture(images / "same.png", 1)
    (images / "copy.png").write_bytes((images / "same.png").read_bytes())
    names = ["same.png", "copy.png", "same.png", "same.png"]
    items(db, *(("pins", f"p{n}", name, None) for n, name in enumerate(names)))
    counts = caption_images(workspace, db, blip, images, batch_size=2)
    assert (counts["captioned"], counts["computed"], counts["from_cache"]) == (4, 1, 3)
    assert len(set(captions(db).values())) == 1


def test_captions_are_overwritten_only_when_asked(workspace, db, images, blip):
    items(db, ("pins", "p0", picture(images / "0.png", 0), "imported"))
    assert caption_images(workspace, db, blip, images)["captioned"] == 0
    assert captions(db) == {"p0": "imported"}
    assert caption_images(workspace, db, blip, images, overwrite=True)["captioned"] == 1
    assert captions(db)["p0"] not in ("imported", None, "")


def test_the_same_caption_whatever_the_batch_and_another_for_another_model(
    workspace, db, images, blip, tmp_path
):
    items(db, *(("pins", f"p{n}", picture(images / f"{n}.png", n), None) for n in range(5)))
    caption_images(workspace, db, blip, images, batch_size=2)
    first = captions(db)
    (workspace.root / "image_cache.db").unlink()
    caption_images(workspace, db, blip, images, overwrite=True, batch_size=5)
    assert captions(db) == first
    other = save_blip(tmp_path / "other", seed=5)
    counts = caption_images(workspace, db, other, images, overwrite=True)
    assert (counts["computed"], counts["from_cache"]) == (5, 0)


def test_what_cannot_be_read_is_refused_with_a_reason(workspace, db, images, blip, tmp_path):
    picture(tmp_path / "outside.png", 1)
    images.mkdir()
    (images / "drawing.svg").write_text("<?xml version='1.0'?><svg xmlns='x'/>")
    (images / "text.png").write_text("no picture")
    (images / "empty.png").write_bytes(b"")
    (images / "whole.png").write_bytes(b"")
    good = picture(images / "good.png", 3)
    (images / "half.png").write_bytes((images / "good.png").read_bytes()[:60])
    (images / "way-out.png").symlink_to(tmp_path / "outside.png")
    reasons = {
        "drawing.svg": "SVG",
        "text.png": "not a readable picture",
        "half.png": "not a readable picture",
        "empty.png": "empty",
        "absent.png": "no such file",
        "../outside.png": "outside",
        str(tmp_path / "outside.png"): "outside",
        "way-out.png": "outside",
        "a\0b.png": "cannot be read",
        "ftp://example.org/a.png": "only http",
        "file:///etc/passwd": "only http",
    }
    items(db, *(("pins", f"p{n}", name, None) for n, name in enumerate([*reasons, good])))
    counts = caption_images(workspace, db, blip, images)
    assert (counts["captioned"], counts["refused"]) == (1, len(reasons))
    assert sum(counts["reasons"].values()) == len(reasons)
    rejects = [json.loads(line) for line in Path(counts["rejects"]).read_text().splitlines()]
    assert {row["image"] for row in rejects} == set(reasons)
    for row in rejects:
        assert reasons[row["image"]] in row["reason"], row
    assert rejects[0]["entity"] == "pin" and rejects[0]["id"]
    # Without a folder a file name says nothing.
    again = caption_images(workspace, db, blip)
    assert any("no folder of images" in reason for reason in again["reasons"])


class _Server(http.server.BaseHTTPRequestHandler):
    content = b""

    def do_GET(self):
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/a.png")
            self.end_headers()
            return
        if self.path == "/hang":
            time.sleep(1.5)
        self.send_response(200 if self.path != "/gone" else 404)
        self.end_headers()
        self.wfile.write(self.content * (1000 if self.path == "/large" else 1))

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    _Server.content = (tmp_path / picture(tmp_path / "a.png", 4)).read_bytes()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_pictures_are_fetched_with_limits(workspace, db, blip, server, monkeypatch):
    monkeypatch.setenv("OMNISEARCH_ENRICH_PRIVATE_ORIGINS", f"{server} http://127.0.0.1:1")
    monkeypatch.setattr(fetching, "TIMEOUT_SECONDS", 0.3)
    for module in (fetching, pictures):
        monkeypatch.setattr(module, "MAX_BYTES", 50_000)
    reasons = {
        "/gone": "404",
        "/large": "larger than",
        "/hang": "timed out",
        "/moved": "cannot be fetched",
    }
    items(db, *(("pins", path, server + path, None) for path in [*reasons, "/a.png"]))
    items(db, ("pins", "nowhere", "http://127.0.0.1:1/a.png", None))
    counts = caption_images(workspace, db, blip)
    assert counts["captioned"] == 1
    assert captions(db)["/a.png"]
    rejects = [json.loads(line) for line in Path(counts["rejects"]).read_text().splitlines()]
    found = {row["id"]: row["reason"] for row in rejects}
    assert all(reason in found[path] for path, reason in reasons.items()), found
    assert "refused" in found["nowhere"]


def test_large_pictures_are_refused_before_they_are_decoded(images, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 400)
    picture(images / "a.png", 1, size=24)
    with pytest.raises(Refused, match="24 x 24"):
        decode(read_bytes("a.png", images))


_KILLED = """
import sys, time
from pathlib import Path
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.enrichment.captions import caption_images
from omnisearch.data.workspace import Workspace

def slow(done, total):
    print(done, flush=True)
    time.sleep(30 if done >= 4 else 0)

workspace = Workspace(Path(sys.argv[1]))
db = open_catalogue(workspace.catalogue)
caption_images(workspace, db, sys.argv[2], Path(sys.argv[3]), batch_size=2, progress=slow)
"""


def test_a_killed_run_goes_on_where_it_was(workspace, db, images, blip):
    items(db, *(("pins", f"p{n}", picture(images / f"{n}.png", n), None) for n in range(8)))
    child = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(workspace.root), str(blip), str(images)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    while child.stdout.readline() != b"4\n":
        assert child.poll() is None
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    done = {key: text for key, text in captions(db).items() if text}
    assert 2 <= len(done) < 8
    counts = caption_images(workspace, db, blip, images, batch_size=2)
    assert counts["captioned"] == 8 - len(done)
    assert counts["computed"] <= 6  # two batches were in the cache or the catalogue
    assert captions(db).items() >= done.items()
    assert all(captions(db).values())


@pytest.mark.parametrize("kind", ["vit", "clip"])
def test_image_embeddings_become_the_feature_image(workspace, db, images, kind, tmp_path):
    model = save_vit(tmp_path / "vit", dim=12) if kind == "vit" else save_clip(tmp_path / "clip")
    names = [picture(images / f"{n}.png", n) for n in range(3)]
    items(
        db,
        *(("pins", f"p{n}", name, None) for n, name in enumerate([*names, names[0], None])),
        ("products", "g0", names[2], None),
    )
    counts = embed_images(workspace, db, model, images, batch_size=2)
    assert (counts["embedded"], counts["computed"], counts["from_cache"]) == (5, 3, 2)
    pins = open_vectors(workspace, db, "image", "pin")
    assert pins.ids == ["p0", "p1", "p2", "p3"]
    assert pins.dim == (12 if kind == "vit" else 6)
    assert np.allclose(np.linalg.norm(pins.vectors, axis=1), 1, atol=1e-5)
    assert np.array_equal(pins.vectors[0], pins.vectors[3])
    assert not np.allclose(pins.vectors[0], pins.vectors[1])
    products = open_vectors(workspace, db, "image", "product")
    assert np.array_equal(products.vectors[0], pins.vectors[2])
    assert embed_images(workspace, db, model, images)["embedded"] == 0


def mean_of(rows):
    mean = np.mean(rows, axis=0)
    return mean / np.linalg.norm(mean)


def further(db, key, *names):
    with db.conn:
        db.conn.execute("UPDATE pins SET more_images = ? WHERE id = ?", [json.dumps(names), key])


def test_the_row_of_several_pictures_is_the_mean_of_those_that_can_be_read(
    workspace, db, images, vit
):
    names = [picture(images / f"{n}.png", n) for n in range(4)]
    items(db, *(("pins", f"p{n}", name, None) for n, name in enumerate(names)))
    embed_images(workspace, db, vit, images)
    alone = open_vectors(workspace, db, "image", "pin").rows([f"p{n}" for n in range(4)])[0]
    items(db, ("pins", "none", None, None), ("pins", "broken", names[0], None))
    further(db, "p0", names[1], names[0], names[2])  # a picture twice counts once
    further(db, "none", names[3])
    further(db, "broken", "no-such.png", names[1])
    assert "1 of earlier pictures, 2 missing" in said(workspace, db)[0]
    counts = embed_images(workspace, db, vit, images)
    assert (counts["embedded"], counts["computed"], counts["refused"]) == (3, 0, 1)
    found = open_vectors(workspace, db, "image", "pin")
    rows = found.rows(["p0", "p1", "none", "broken"])[0]
    expected = [mean_of(alone[:3]), alone[1], alone[3], mean_of(alone[:2])]
    assert np.allclose(rows, expected, atol=1e-6)
    assert said(workspace, db) == []  # what cannot be read is not missed
    (images / "no-such.png").write_bytes((images / names[2]).read_bytes())
    embed_images(workspace, db, vit, images)
    row = open_vectors(workspace, db, "image", "pin").rows(["broken"])[0]
    assert np.allclose(row, mean_of(alone[:3]), atol=1e-6)
    further(db, "p0")
    embed_images(workspace, db, vit, images)
    row = open_vectors(workspace, db, "image", "pin").rows(["p0"])[0]
    assert np.allclose(row, alone[0], atol=1e-6)


def test_no_more_pictures_are_in_memory_than_a_batch_has(workspace, db, images, vit, monkeypatch):
    names = [picture(images / f"{n}.png", n) for n in range(9)]
    items(db, ("pins", "p0", names[0], None), ("pins", "p1", names[0], None))
    further(db, "p0", *names)
    further(db, "p1", *reversed(names))
    asked = []

    def get(cache, digests):
        asked.append(len(digests))
        return found(cache, digests)

    found = Cache.get
    monkeypatch.setattr(Cache, "get", get)
    embed_images(workspace, db, vit, images, batch_size=4)
    assert max(asked) == 4
    rows = open_vectors(workspace, db, "image", "pin").rows(["p0", "p1"])[0]
    assert np.allclose(rows[0], rows[1], atol=1e-6)


def test_a_caption_is_of_the_picture_that_is_shown(workspace, db, images, blip):
    names = [picture(images / f"{n}.png", n) for n in range(2)]
    items(db, ("pins", "p0", names[0], None), ("pins", "p1", names[0], None))
    further(db, "p0", names[1])
    counts = caption_images(workspace, db, blip, images)
    assert (counts["captioned"], counts["computed"]) == (2, 1)
    assert captions(db)["p0"] == captions(db)["p1"]


def test_imported_vectors_stay_unless_asked(workspace, db, images, vit):
    items(db, *(("pins", f"p{n}", picture(images / f"{n}.png", n), None) for n in range(2)))
    write_vectors(workspace, db, "image", "pin", ["p0"], np.ones((1, 12), np.float32))
    assert embed_images(workspace, db, vit, images)["embedded"] == 1
    feature = open_vectors(workspace, db, "image", "pin")
    assert feature.ids == ["p0", "p1"] and (feature.vectors[0] == 1).all()
    assert embed_images(workspace, db, vit, images, overwrite=True)["embedded"] == 2
    feature = open_vectors(workspace, db, "image", "pin")
    assert feature.ids == ["p0", "p1"] and not (feature.vectors[0] == 1).all()


def test_two_models_are_not_mixed_in_one_feature(workspace, db, images, vit, tmp_path):
    items(db, ("pins", "p0", picture(images / "0.png", 0), None))
    embed_images(workspace, db, vit, images)
    items(db, ("pins", "p1", picture(images / "1.png", 1), None))
    other = save_vit(tmp_path / "other", dim=12, seed=1)
    with pytest.raises(InputError, match="another model"):
        embed_images(workspace, db, other, images)
    assert embed_images(workspace, db, other, images, overwrite=True)["embedded"] == 2


def test_another_dimension_is_refused_before_the_work(workspace, db, images, vit):
    items(db, *(("pins", f"p{n}", picture(images / f"{n}.png", n), None) for n in range(2)))
    write_vectors(workspace, db, "image", "pin", ["p0"], np.ones((1, 5), np.float32))
    with pytest.raises(InputError, match="12 dimensions"):
        embed_images(workspace, db, vit, images)
    assert open_vectors(workspace, db, "image", "pin").dim == 5


def test_embeddings_of_a_killed_run_come_from_the_cache(workspace, db, images, vit):
    items(db, *(("pins", f"p{n}", picture(images / f"{n}.png", n), None) for n in range(6)))
    script = _KILLED.replace("captions import caption_images", "images import embed_images")
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            script.replace("caption_images", "embed_images"),
            *(str(workspace.root), str(vit), str(images)),
        ],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    while child.stdout.readline() != b"4\n":
        assert child.poll() is None
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert open_vectors(workspace, db, "image", "pin") is None
    counts = embed_images(workspace, db, vit, images)
    assert (counts["embedded"], counts["computed"], counts["from_cache"]) == (6, 2, 4)
    assert not list(workspace.root.glob("tmp*"))


@pytest.mark.parametrize("step", [caption_images, embed_images])
def test_a_model_that_is_not_there_is_a_readable_error(workspace, db, tmp_path, step):
    empty = tmp_path / "empty"
    empty.mkdir()
    for model in (empty, tmp_path / "absent"):
        with pytest.raises(InputError) as error:
            step(workspace, db, model)
        assert str(model) in str(error.value)


def test_pickled_weights_are_not_read(workspace, db, vit, tmp_path):
    folder = tmp_path / "pickled"
    folder.mkdir()
    for path in vit.iterdir():
        target = folder / ("pytorch_model.bin" if path.suffix == ".safetensors" else path.name)
        target.write_bytes(path.read_bytes())
    with pytest.raises(InputError, match=r"no weights in model\.safetensors"):
        embed_images(workspace, db, folder)


def test_a_damaged_cache_says_so(workspace, db, vit):
    (workspace.root / "image_cache.db").write_bytes(b"not a database, certainly" * 100)
    with pytest.raises(Corrupt, match="image cache"):
        embed_images(workspace, db, vit)


def test_a_cached_vector_of_a_wrong_size_is_made_again(workspace, db, images, vit):
    items(db, ("pins", "p0", picture(images / "0.png", 0), None))
    embed_images(workspace, db, vit, images)
    first = open_vectors(workspace, db, "image", "pin").vectors.copy()
    with sqlite3.connect(workspace.root / "image_cache.db") as connection:
        connection.execute("UPDATE results SET value = x'00'")
    with pytest.raises(Corrupt, match="image cache"):
        embed_images(workspace, db, vit, images, overwrite=True)
    assert np.array_equal(open_vectors(workspace, db, "image", "pin").vectors, first)


def change(db, item_id, image):
    with db.conn:
        db.conn.execute("UPDATE pins SET image = ? WHERE id = ?", [image, item_id])


def said(workspace, db):
    return [str(each) for each in stale(workspace, db)]


def test_rows_of_earlier_pictures_are_named_and_made_again(workspace, db, images, vit):
    names = [picture(images / f"{n}.png", n) for n in range(5)]
    items(db, *(("pins", f"p{n}", names[n], None) for n in range(3)), ("pins", "p3", None, None))
    write_vectors(workspace, db, "image", "pin", ["p2"], np.ones((1, 12), np.float32))
    embed_images(workspace, db, vit, images)
    assert said(workspace, db) == []
    before = open_vectors(workspace, db, "image", "pin").rows(["p0", "p1", "p2"])[0]
    change(db, "p0", names[4])
    change(db, "p1", None)
    change(db, "p2", names[0])  # imported: not of a picture that we know
    change(db, "p3", names[3])
    items(db, ("products", "g0", names[1], None))
    assert said(workspace, db) == [
        "Stale image vectors of pins: 2 of earlier pictures, 1 missing; "
        "run `omnisearch enrich images`.",
        "Stale image vectors of products: 1 missing; run `omnisearch enrich images`.",
    ]
    assert embed_images(workspace, db, vit, images)["embedded"] == 3
    assert said(workspace, db) == []
    feature = open_vectors(workspace, db, "image", "pin")
    assert sorted(feature.ids) == ["p0", "p2", "p3"]
    after = feature.rows(["p0", "p1", "p2"])[0]
    assert not np.allclose(before[0], after[0]) and np.array_equal(before[2], after[2])
    items(db, ("pins", "p9", "no-such.png", None))
    assert "pins: 1 missing;" in said(workspace, db)[0]
    embed_images(workspace, db, vit, images)
    assert said(workspace, db) == []  # it cannot be mended by running the command again


def test_captions_of_earlier_pictures_are_named_and_made_again(workspace, db, images, blip):
    names = [picture(images / f"{n}.png", n) for n in range(4)]
    items(db, *(("pins", f"p{n}", names[n], None) for n in range(3)))
    caption_images(workspace, db, blip, images)
    with db.conn:
        db.conn.execute("UPDATE pins SET caption = 'by a person' WHERE id = 'p1'")
    assert said(workspace, db) == []
    for item_id, name in (("p0", names[3]), ("p1", names[3]), ("p2", None)):
        change(db, item_id, name)
    assert said(workspace, db) == [
        "Stale captions of pins: 2 of earlier pictures; run `omnisearch enrich captions`."
    ]
    assert caption_images(workspace, db, blip, images)["captioned"] == 1
    found = captions(db)
    assert found["p0"] and found["p1"] == "by a person" and found["p2"] is None
    assert said(workspace, db) == []


def test_damaged_embeddings_are_made_again_from_the_cache(workspace, db, images, vit):
    items(db, *(("pins", f"p{n}", picture(images / f"{n}.png", n), None) for n in range(2)))
    embed_images(workspace, db, vit, images)
    before = np.array(open_vectors(workspace, db, "image", "pin").vectors)
    [path] = workspace.item_vectors.glob("*.npy")
    np.save(path, before + 1)
    with pytest.raises(Corrupt, match="omnisearch enrich images"):
        open_vectors(workspace, db, "image", "pin")
    counts = embed_images(workspace, db, vit, images)
    assert (counts["embedded"], counts["computed"]) == (2, 0)
    assert np.array_equal(open_vectors(workspace, db, "image", "pin").vectors, before)


def test_nan_in_the_cache_or_of_the_model_is_refused_by_item(workspace, db, images, vit):
    items(db, ("pins", "p0", picture(images / "0.png", 0), None))
    embed_images(workspace, db, vit, images)
    with sqlite3.connect(workspace.root / "image_cache.db") as connection:
        nan = np.full(12, np.nan, "<f4").tobytes()
        connection.execute("UPDATE results SET value = ?", [nan])
    with pytest.raises(InputError, match=r"NaN.* the picture of pin 'p0'"):
        embed_images(workspace, db, vit, images, overwrite=True)
