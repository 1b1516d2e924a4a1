"""The search box suggests: with the keyboard, on phones, in the dark, whatever comes back when."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from browser import Tab, focused, shown, until
from server_process import Server

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
    page.keyboard.insert_text("dre")  # at once: no earlier list comes first
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
    page.keyboard.insert_text("dre")
    page.wait_for_selector(OPEN)
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=dre")
    assert page.locator(OPEN).count() == 0


def choose(page: Any, text: str, kind: str) -> None:
    """Type a text and click the suggestion that is it, of that kind."""
    page.fill("#q", text)
    page.wait_for_selector(OPEN)
    options = [option.split("\n") for option in page.locator(OPEN).all_inner_texts()]
    page.locator(OPEN).nth(options.index([text, kind])).click()


def filters(page: Any) -> list[str]:
    return parse_qs(urlsplit(page.url).query).get("filter", [])


def test_a_brand_and_a_category_filter_the_search(tabs: Callable[..., Tab], server: Server) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    answers = [server.json(f"/v1/suggest?q={letter}&k=50") for letter in letters]
    listed = [each for answer in answers for each in answer["suggestions"] if each["filter"]]
    first, second = [each for each in listed if each["kind"] == "brand"][:2]
    category = next(each for each in listed if each["kind"] == "category")
    page = tabs().open("/?q=dress&entity=product", "#feed .card:not(.blank)")
    for chosen, expected in (
        (first, [first["filter"]]),
        (second, [second["filter"]]),
        (category, [second["filter"], category["filter"]]),
    ):
        choose(page, chosen["text"], chosen["kind"].capitalize())
        until(
            page, "text => new URLSearchParams(location.search).has('filter', text)", expected[-1]
        )
        assert filters(page) == expected and "entity=product" in page.url
        assert page.input_value("#q") == chosen["text"].split(" > ")[-1]
    page.wait_for_selector("#results:not([aria-busy])")
    assert page.locator("#active li").count() == 2


def test_the_compare_page_suggests_too(tabs: Callable[..., Tab]) -> None:
    page = tabs().open("/compare", ".hero")
    page.keyboard.insert_text("dre")
    page.wait_for_selector(OPEN)
    text = page.locator(OPEN).first.locator("bdi").inner_text()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector(".result")
    assert page.input_value("#q") == text and text in page.inner_text("h1")
    assert page.locator(OPEN).count() == 0
    for key in ("Shift+R", "r"):  # letters in the box are no verdicts
        page.press("#q", key)
    assert "0 of" in page.inner_text("#tally")


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
        page.keyboard.insert_text("dre")
        page.wait_for_selector(OPEN)
        page.keyboard.press("ArrowDown")
        assert axe.run(page).response["violations"] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        heights = page.locator(OPEN).evaluate_all("all => all.map(one => one.clientHeight)")
        assert min(heights) >= 40
        if "has_touch" in options:
            page.locator(OPEN).first.tap()
            page.wait_for_url("**/?q=*")
