"""A service over the tiny world and some hostile pins, and a browser that looks at its pages."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from browser import CHROMIUM, FLAGS, Tab
from server_process import Server

from omnisearch import pipeline
from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.workspace import Workspace

HOSTILE = {
    "evil-html": '<img src=x onerror="document.title=1">zebraphone',
    "evil-script": "</h2><script>document.title=1</script>zebraphone",
    "evil-turn": "zebraphone \u202egnp.exe\u202c \u2067abc",
    "evil-control": "zebraphone\x00\x1b[31m\n\nred",
    "evil-long": "zebraphone" + "a" * 600,
    "arabic": "هاتف zebraphone قديم",
    "chinese": "复古铜制浴室水槽zebraphone" + "复古铜制浴室水槽" * 10,
    "untitled-link": "zebraphone link",
}


@pytest.fixture(scope="session")
def world(trained: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The tiny world with some hostile pins in it: generation 2."""
    workspace = Workspace(tmp_path_factory.mktemp("pages") / "workspace")
    shutil.copytree(trained.root, workspace.root)
    db = open_catalogue(workspace.catalogue)
    db["pins"].insert_all(
        {
            "id": f'{key}"><b>',
            "title": title,
            "link": "javascript:document.title=1",
            "image": ("https://evil.example/x.png", "pictures/none.svg", None)[place % 3],
            "language": "en",
            "created_at": 1_700_000_000,
        }
        for place, (key, title) in enumerate(HOSTILE.items())
    )
    brands = ("Left|Right", "Left", "Back\\slash|", "Left|Right")
    db["products"].insert_all(
        {"id": f"quill{place}", "title": f"quillboard {place}", "brand": brand, "language": "en"}
        for place, brand in enumerate(brands)
    )
    db.conn.commit()
    db.conn.close()
    pipeline.build_index(workspace)
    return workspace


@pytest.fixture(scope="session")
def server(world: Workspace) -> Iterator[Server]:
    with Server(world.root) as running:
        running.get("/v1/search?q=warm&deadline_ms=20000")
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def tabs(chromium: Any, server: Server) -> Iterator[Callable[..., Tab]]:
    """Opens tabs; in the end none may have had a fault, or asked another origin for anything."""
    opened: list[Tab] = []

    def open_tab(**options: Any) -> Tab:
        opened.append(Tab(chromium, server.url, **options))
        return opened[-1]

    yield open_tab
    for tab in opened:
        foreign, faults = tab.foreign(), tab.faults
        tab.close()
        assert foreign == [] and faults == []
