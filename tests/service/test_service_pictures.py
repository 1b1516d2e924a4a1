"""Pictures and pages: only what an item names, only from allowed folders, never as a page."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from server_process import Server

from omnisearch import pipeline
from omnisearch.data.workspace import Workspace
from omnisearch.indexer.generation import Generation
from omnisearch.service.serving.pictures import Pictures

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 20


def test_a_picture_is_served_in_a_sandbox(server: Server) -> None:
    hit = next(h for h in server.json("/v1/search?q=dress")["hits"] if h["image"])
    assert hit["image"].startswith("/pictures/")
    status, headers, body = server.get(hit["image"])
    assert status == 200 and headers["content-type"] == "image/svg+xml" and b"<svg" in body
    assert headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert headers["x-content-type-options"] == "nosniff"
    assert server.get(hit["image"], **{"If-None-Match": headers["etag"]})[0] == 304


@pytest.mark.parametrize(
    "path", ["pin/none", "query/lamp", "pin/..%2f..%2fetc%2fpasswd", "pin/%00"]
)
def test_what_is_no_item_has_no_picture(server: Server, path: str) -> None:
    assert server.get(f"/pictures/{path}")[0] in (404, 422)


class Live:
    """A generation whose pin `a` names a picture."""

    def __init__(self, image: str) -> None:
        self.image = image
        self.generation = self
        self.tables = {"pin": self}
        self.row_of = {"a": 0}

    def display(self, rows: list[int]) -> list[dict[str, str]]:
        return [{"image": self.image}]


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(PNG)
    (tmp_path / "in" / "notes.png").write_bytes(b"secret")
    (tmp_path / "out" / "b.png").write_bytes(PNG)
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "out" / "b.png")
    found = Pictures("https://i.example.com", Workspace(tmp_path))
    found.folders = (tmp_path / "in",)
    return found


def test_only_pictures_inside_the_folders_are_read(pictures: Pictures, tmp_path: Path) -> None:
    inside = pictures.read(Live("a.png"), "pin", "a")
    assert inside is not None and (inside.kind, inside.content) == ("image/png", PNG)
    assert pictures.read(Live(str(tmp_path / "in" / "a.png")), "pin", "a") is not None
    outside = str(tmp_path / "out" / "b.png")
    for image in ("../out/b.png", outside, "link.png", "notes.png", "none.png", "a\0.png", "."):
        assert pictures.read(Live(image), "pin", "a") is None, image
    for image in ("https://i.example.com/a.png", "file:///etc/passwd", "", "in"):
        assert pictures.read(Live(image), "pin", "a") is None, image


def test_remote_pictures_are_linked_from_trusted_origins_only(pictures: Pictures) -> None:
    shown = pictures.shown_as
    assert shown("pin", "a b/c", "x.svg") == "/pictures/pin/a%20b%2Fc"
    assert shown("pin", "a", "https://i.example.com/1.png") == "https://i.example.com/1.png"
    for image in (
        "https://elsewhere.example/1.png",
        "https://i.example.com.evil.example/1.png",
        "https://i.example.com@evil.example/1.png",
        "http://i.example.com/1.png",
        "HTTPS://[",
        None,
        "",
    ):
        assert shown("pin", "a", image) is None


def test_an_id_with_any_sign_has_an_address(served: Workspace) -> None:
    """Ids are data: slashes, quotes and what looks like a path."""
    key = "../a/b?c#d%20é"
    folder = served.root / "imported"
    folder.mkdir()
    (folder / "a.png").write_bytes(PNG)
    (folder / "pins.csv").write_text(f'id,title,image\n"{key}",a lamp,a.png\n')
    pipeline.import_files(served, [folder / "pins.csv"])
    pipeline.update_index(served)
    assert key in Generation.open(served).tables["pin"].row_of
    with Server(served.root) as server:
        status, headers, body = server.get(f"/pictures/pin/{quote(key, safe='')}")
        assert (status, headers["content-type"], body) == (200, "image/png", PNG)
        assert server.get(f"/v1/similar?entity=pin&id={quote(key, safe='')}")[0] == 200


def test_pages_and_their_files(server: Server) -> None:
    for path in ("/", "/docs"):
        status, headers, body = server.get(path)
        assert status == 200 and headers["content-type"].startswith("text/html")
        assert b"<script>" not in body and b"style=" not in body and b"//cdn" not in body
    assert server.get("/assets/docs.css")[1]["content-type"].startswith("text/css")
    for path in ("/assets/", "/assets/none.js", "/assets/..%2fapp.py", "/assets/%2fetc%2fpasswd"):
        assert server.get(path)[0] == 404
    assert b"/v1/search" in server.get("/docs")[2]
