"""deploy/example: a shop's page on another origin, with a key of the scopes search and feedback."""

from __future__ import annotations

import http.server
import json
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from browser import Tab, until
from server_process import Server

from omnisearch.data.workspace import Workspace
from omnisearch.service.key_files import new_key

EXAMPLE = Path(__file__).parents[3] / "deploy" / "example"
QUERY = "dress"


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def shop(world: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The addresses of a shop that has the page, and of the service."""
    folder = tmp_path_factory.mktemp("shop")
    shutil.copytree(EXAMPLE, folder / "site")
    handler = partial(Files, directory=str(folder / "site"))
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{site.server_port}"
    key = new_key(folder / "keys", "page", ["search", "feedback"])
    with Server(world.root, "--api-keys", folder / "keys", "--cors", origin) as server:
        page = (EXAMPLE / "index.html").read_text()
        page = page.replace('data-api=""', f'data-api="{server.url}"')
        page = page.replace('data-key=""', f'data-key="{key}"')
        (folder / "site" / "index.html").write_text(page)
        server.get(f"/v1/search?q={QUERY}&deadline_ms=20000", Authorization=f"Bearer {key}")
        yield origin, server.url
    site.shutdown()


@pytest.fixture
def tabs(chromium: Any, shop: tuple[str, str]) -> Iterator[Callable[..., Tab]]:
    """Opens tabs; in the end none may have had a fault, or asked a third origin for anything."""
    opened: list[Tab] = []

    def open_tab(**options: Any) -> Tab:
        opened.append(Tab(chromium, shop[0], **options))
        return opened[-1]

    yield open_tab
    for tab in opened:
        foreign = [url for url in tab.foreign() if not url.startswith(f"{shop[1]}/")]
        faults = tab.faults
        tab.close()
        assert foreign == [] and faults == []


def results(page: Any) -> list[str]:
    return page.locator("#results li").all_inner_texts()


def test_by_keyboard_alone_from_letters_to_a_result(
    tabs: Callable[..., Tab], world: Workspace
) -> None:
    page = tabs().open("/", "#q")
    page.keyboard.press("Tab")
    page.keyboard.insert_text(QUERY[:3])
    page.wait_for_selector("[role=option]")
    assert page.get_attribute("#q", "aria-expanded") == "true"
    page.keyboard.press("ArrowDown")
    option = page.locator("[role=option][aria-selected=true]")
    assert page.get_attribute("#q", "aria-activedescendant") == option.get_attribute("id")
    chosen = option.get_attribute("data-text")
    assert page.input_value("#q") == chosen
    page.keyboard.press("Escape")
    assert page.is_hidden("#suggestions")
    page.keyboard.press("Enter")
    page.wait_for_selector("#results li")
    assert page.inner_text("h1") == chosen and f"q={chosen.split()[0]}" in page.url
    assert page.evaluate("document.activeElement.id") == "title"
    # The links of the sample world lead nowhere: the click itself is what counts.
    page.evaluate("() => addEventListener('click', (event) => event.preventDefault())")
    page.locator("#results a").first.focus()
    with page.expect_response("**/v1/feedback") as response:
        page.keyboard.press("Enter")
    assert response.value.status == 200  # its body is not told: the page may be left meanwhile
    db = sqlite3.connect(world.feedback)
    row = json.loads(db.execute("SELECT row FROM events ORDER BY seq DESC").fetchone()[0])
    db.close()
    assert (row["query"], row["action"], row["position"]) == (chosen, "click", 1)
    assert row["session"]


def test_a_chosen_brand_filters(tabs: Callable[..., Tab]) -> None:
    page = tabs().open(f"/?q={QUERY}", "#facets fieldset")
    value = page.locator("fieldset", has_text="Brand").locator("input").first.get_attribute("value")
    page.fill("#q", str(value).partition("=")[2])
    option = page.locator("[role=option]", has=page.locator(".kind", has_text="brand")).first
    option.click()
    until(page, "text => new URLSearchParams(location.search).get('filter') === text", value)
    until(page, "document.querySelectorAll('#facets input:checked').length === 1")
    assert page.is_hidden("#suggestions")


def test_facets_narrow_and_the_address_keeps_them(tabs: Callable[..., Tab]) -> None:
    page = tabs().open(f"/?q={QUERY}", "#facets fieldset")
    before = results(page)
    group = page.locator("fieldset", has_text="Brand")
    box = group.locator("input").first
    brand = str(box.get_attribute("value")).partition("=")[2]
    box.check()
    until(
        page,
        "brand => [...document.querySelectorAll('#results li')].every("
        "item => item.querySelector('.brand')?.textContent === brand)",
        brand,
    )
    assert results(page) != before and "filter=brand" in page.url
    second = group.locator("input").nth(1)
    other = str(second.get_attribute("value")).partition("=")[2]
    second.check()
    until(
        page,
        "brands => new Set([...document.querySelectorAll('#results .brand')]"
        ".map(each => each.textContent)).size === 2",
        [brand, other],
    )
    page.reload()
    page.wait_for_selector("#facets fieldset")
    assert page.locator("fieldset", has_text="Brand").locator("input:checked").count() == 2
    page.go_back()
    page.go_back()
    until(
        page,
        "before => [...document.querySelectorAll('#results li')]"
        ".map(each => each.innerText).join() === before.join()",
        before,
    )


def test_sorted_by_price_and_more(tabs: Callable[..., Tab]) -> None:
    page = tabs().open(f"/?q={QUERY}", "#results li")
    page.select_option("#sort", "price")
    prices = "[...document.querySelectorAll('#results li')].map(item => item.lastChild.textContent)"
    prices += ".filter(text => /\\d/.test(text)).map(text => Number(text.replace(/[^0-9.]/g, '')))"
    ascending = f"count => {prices}.length >= count && {prices}.every((price, at, all) => "
    ascending += "!at || all[at - 1] <= price)"
    until(page, ascending, 15)
    page.click("#more")
    until(page, ascending, 21)


def test_pictures_come_with_the_key(tabs: Callable[..., Tab]) -> None:
    page = tabs().open(f"/?q={QUERY}", "#results img")
    until(page, "() => document.querySelector('#results img').naturalWidth > 0")
    assert page.get_attribute("#results img", "src").startswith("blob:")


def test_hostile_titles_and_addresses_stay_text(tabs: Callable[..., Tab]) -> None:
    tab = tabs()
    page = tab.open("/?q=zebraphone", "#results li")
    assert any("<img src=x" in text for text in results(page))
    assert page.locator("#results script, #results img[src=x], #results b").count() == 0
    assert page.locator('#results a[href^="javascript"]').count() == 0
    page = tab.open("/?q=%3Cimg%20src=x%20onerror=%22document.title=1%22%3E", "#state:not(:empty)")
    assert page.title() != "1" and page.locator("main img[src=x]").count() == 0
    tab.forget("404")  # the picture that one of them names is not there


def test_what_the_service_refuses_is_said(tabs: Callable[..., Tab], shop: tuple[str, str]) -> None:
    tab = tabs()
    page = tab.open(f"/?q={QUERY}&filter=nosuchthing%3Da", "#state:not(:empty)")
    assert "nosuchthing" in page.inner_text("#state")
    tab.forget("422")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_accessibility_violations(tabs: Callable[..., Tab], scheme: str) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is not installed"
    ).Axe()
    page = tabs(color_scheme=scheme).open(f"/?q={QUERY}", "#facets fieldset")
    page.fill("#q", "")
    page.type("#q", QUERY[:3])
    page.wait_for_selector("[role=option]")
    found = axe.run(page)
    assert found.violations_count == 0, found.generate_report()


def test_a_phone_scrolls_one_way(tabs: Callable[..., Tab]) -> None:
    tab = tabs(viewport={"width": 320, "height": 640})
    page = tab.open("/?q=zebraphone", "#results li")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    small = "all => all.filter(one => one.getBoundingClientRect().height < 39.5).length"
    assert page.eval_on_selector_all("button, select, #q, fieldset > label", small) == 0
    tab.forget("404")  # the picture that one of them names is not there
