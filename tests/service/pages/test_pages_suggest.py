"""The search box suggests: with the keyboard, on phones, in the dark, whatever comes back when."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from browser import Tab, focused, shown, until

OPEN = "#suggestions:not([hidden]) li"


def answering(texts: list[str]) -> bytes:
    found = [
        {"text": text, "kind": "title", "count": 1, "highlights": [[0, 2]], "typos": 0}
        for text in texts
    ]
    return json.dumps({"query": "", "generation": 1, "suggestions": found}).encode()


def test_with_the_keyboard_alone(tabs: Callable[..., Tab]) -> None:
    page = tabs().open("/", ".hero .chips a")
    top = page.locator("main").bounding_box()["y"]
    assert page.get_attribute("#q", "aria-expanded") == "false"
    page.keyboard.type("dre")
    page.wait_for_selector(OPEN)
    assert page.get_attribute("#q", "aria-expanded") == "true"
    assert page.locator("main").bounding_box()["y"] == top  # nothing moves
    assert re.fullmatch(r"\d suggestions?\.", page.inner_text("#live").strip())
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    chosen = page.get_attribute("#q", "aria-activedescendant")
    assert chosen == "suggestion-0" and focused(page) == "q"
    assert page.get_attribute(f"#{chosen}", "aria-selected") == "true"
    assert page.input_value("#q") == "dre"
    page.keyboard.press("Escape")
    assert page.locator(OPEN).count() == 0 and page.input_value("#q") == "dre"
    page.keyboard.type("s")
    page.wait_for_selector(OPEN)
    text = page.locator(OPEN).first.locator("bdi").inner_text()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    until(page, "text => new URLSearchParams(location.search).get('q') === text", text)
    assert shown(page) and page.locator(OPEN).count() == 0
    assert page.locator("#feed mark").count() > 0


def test_enter_searches_for_what_was_typed(tabs: Callable[..., Tab]) -> None:
    page = tabs().open("/", ".hero .chips a")
    page.keyboard.type("dre")
    page.wait_for_selector(OPEN)
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=dre")
    assert page.locator(OPEN).count() == 0


def test_a_late_answer_to_fewer_letters_is_ignored(tabs: Callable[..., Tab]) -> None:
    tab = tabs()
    held: list[Any] = []

    def route(request: Any) -> None:
        if request.request.url.split("q=")[1].startswith("old&"):
            held.append(request)
        else:
            request.fulfill(content_type="application/json", body=answering(["older lamp"]))

    tab.page.route(re.compile("/v1/suggest"), route)
    page = tab.open("/", ".hero .chips a")
    page.keyboard.type("old")
    until(page, "() => performance.now() > 0")
    page.wait_for_timeout(400)
    page.keyboard.type("er")
    page.wait_for_selector(OPEN)
    for request in held:
        request.fulfill(content_type="application/json", body=answering(["old news"]))
    page.wait_for_timeout(200)
    assert len(held) == 1 and page.locator(f"{OPEN} bdi").all_inner_texts() == ["older lamp"]


def test_hostile_texts_are_texts(tabs: Callable[..., Tab]) -> None:
    tab = tabs()
    texts = ["<img src=x onerror=document.title=1>", "a\u202eb", "😀😀 lamp"]
    body = answering(texts)
    tab.page.route(
        re.compile("/v1/suggest"),
        lambda route: route.fulfill(content_type="application/json", body=body),
    )
    page = tab.open("/", ".hero .chips a")
    page.keyboard.type("a")
    page.wait_for_selector(OPEN)
    shown_texts = page.locator(f"{OPEN} bdi").all_inner_texts()
    assert shown_texts == [texts[0], "ab", texts[2]]
    assert page.locator(f"{OPEN} mark").all_inner_texts() == ["<i", "a", "😀😀"]
    assert page.locator("#suggestions img").count() == 0


def test_on_phones_and_in_the_dark(tabs: Callable[..., Tab]) -> None:
    axe = __import__("pytest").importorskip("axe_playwright_python.sync_playwright").Axe()
    for options in (
        {"viewport": {"width": 320, "height": 640}, "has_touch": True, "color_scheme": "dark"},
        {"viewport": {"width": 1280, "height": 800}},
    ):
        page = tabs(**options).open("/", ".hero .chips a")
        page.keyboard.type("dre")
        page.wait_for_selector(OPEN)
        page.keyboard.press("ArrowDown")
        assert axe.run(page).response["violations"] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        heights = page.locator(OPEN).evaluate_all("all => all.map(one => one.clientHeight)")
        assert min(heights) >= 40
        if "has_touch" in options:
            page.locator(OPEN).first.tap()
            page.wait_for_url("**/?q=*")
