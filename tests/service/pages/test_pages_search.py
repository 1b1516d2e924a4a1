"""The search page, driven in headless Chromium against a real server."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from itertools import pairwise

from browser import Tab, focused, shown, until
from server_process import Server

from omnisearch.data.workspace import Workspace

BOXES = """cards => cards.map(card => {
    const box = card.getBoundingClientRect();
    return [box.x, box.y, box.bottom];
})"""


def test_searching_with_nothing_but_the_keyboard(tabs: Callable[..., Tab]) -> None:
    page = tabs().open("/", ".hero .chips a")
    assert focused(page) == "q"
    page.keyboard.type("dress")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=dress")
    assert len(shown(page)) == 24
    told = r"\d+ results, 24 are shown\. \d+ items have all words\."
    assert re.fullmatch(told, page.inner_text("#live"))
    related = page.locator("#related a").first.inner_text()
    for _ in range(20):
        page.keyboard.press("Tab")
        if focused(page) == related:
            break
    page.keyboard.press("Enter")
    until(page, "text => document.getElementById('q').value === text", related)
    until(page, "document.activeElement.id === 'heading'")
    assert related in page.inner_text("h1") and shown(page)
    page.go_back()
    until(page, "document.getElementById('q').value === 'dress'")


def test_the_skip_link_comes_first_and_leads_to_the_results(tabs: Callable[..., Tab]) -> None:
    for path in ("/?q=dress", "/compare?q=dress", "/status"):
        page = tabs().open(path, "#results:not([aria-busy])")
        page.keyboard.press("Tab")
        assert focused(page).startswith("Skip")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "results"


def test_filters_narrow_the_results_and_stand_in_the_address(tabs: Callable[..., Tab]) -> None:
    page = tabs().open("/?q=dress", "#feed .card:not(.blank)")
    page.focus("input[name=entity]")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**/?q=dress&entity=product")
    assert shown(page)
    assert set(
        page.locator("#feed .facts span:text-matches('^(Pin|Product)$')").all_inner_texts()
    ) == {"Product"}
    page.click("summary")
    page.fill("#price_max", "100")
    page.press("#price_max", "Enter")
    page.wait_for_url("**price_max=100")
    assert shown(page)
    prices = page.locator("#feed .price").all_inner_texts()
    assert all(float(re.sub(r"[^\d.]", "", price)) <= 100 for price in prices)
    page.click("#active a:has-text('Up to 100')")
    page.wait_for_url("**/?q=dress&entity=product")


def test_a_deep_link_fills_the_form(tabs: Callable[..., Tab]) -> None:
    address = (
        "/?q=dress&entity=product&language=de&price_min=1&price_max=900&brand=No+Such&ads=false"
    )
    page = tabs().open(address, "#state .message")
    assert page.input_value("#q") == "dress" and page.is_checked("input[value=product]")
    values = {
        "language": "de",
        "price_min": "1",
        "price_max": "900",
        "brand": "No Such",
        "ads": "false",
    }
    for name, value in values.items():
        assert page.input_value(f"#{name}") == value
    assert "Nothing was found" in page.inner_text("#state")
    page.click("text=Search without filters")
    page.wait_for_url("**/?q=dress")
    assert shown(page)


def test_ads_say_that_they_are(tabs: Callable[..., Tab], server: Server) -> None:
    page = tabs().open("/?q=dress&ads=true", "#feed .card:not(.blank)")
    assert page.locator("#feed .badge.ad").count() == len(shown(page)) > 0
    page = tabs().open("/?q=dress&ads=false", "#feed .card:not(.blank)")
    assert page.locator("#feed .badge.ad").count() == 0 < len(shown(page))


def test_more_results_follow_without_repeats(tabs: Callable[..., Tab]) -> None:
    page = tabs().open("/?q=dress", "#feed .card:not(.blank)")
    page.focus("#more a")
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('#feed .card').length === 48")
    links = page.eval_on_selector_all("#feed .like", "links => links.map(link => link.href)")
    assert len(set(links)) == 48
    assert (
        page.evaluate("[...feed.children].findIndex(c => c.contains(document.activeElement))") == 24
    )
    page.wait_for_url("**/?q=dress&page=2")
    page.reload()
    page.wait_for_selector("#earlier a:visible")
    assert page.locator("#feed .card:not(.blank)").count() == 24


def test_items_like_an_item(tabs: Callable[..., Tab]) -> None:
    page = tabs().open("/?q=dress", "#feed .card:not(.blank)")
    page.click("#feed .like >> nth=0")
    page.wait_for_url("**/?like=*")
    assert page.inner_text("h1") == "More like this" and shown(page)


def test_pictures_are_shown_and_packed_in_the_order_of_ranks(tabs: Callable[..., Tab]) -> None:
    page = tabs(viewport={"width": 1200, "height": 900}).open("/?q=dress", "#feed img")
    until(page, "document.querySelector('#feed img').naturalWidth > 0")
    boxes = page.eval_on_selector_all(
        "#feed .card",
        BOXES,
    )
    tops = [round(top) for _, top, _ in boxes]
    assert tops == sorted(tops) and len({round(left) for left, _, _ in boxes}) == 4
    by_column: dict[int, list[tuple[float, float]]] = {}
    for left, top, bottom in boxes:
        by_column.setdefault(round(left), []).append((top, bottom))
    for column in by_column.values():
        assert all(after[0] - before[1] < 5 for before, after in pairwise(column))


# -- strangers' text


def test_hostile_titles_stay_text(tabs: Callable[..., Tab]) -> None:
    for path, cards in (
        ("/?q=zebraphone&system=token", "#feed .card:not(.blank)"),
        ("/compare?q=zebraphone", ".result"),
    ):
        tab = tabs(viewport={"width": 360, "height": 740})
        page = tab.open(path, cards)
        text = page.inner_text("#results")
        assert '<img src=x onerror="document.title=1">zebraphone' in text
        assert "</h2><script>" in text and not re.search("[\u202a-\u202e\u2066-\u2069\x1b]", text)
        assert page.locator("main script, main b, main [onerror], a[href^=javascript]").count() == 0
        assert page.title() != "1"
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        tab.forget("404")  # the picture that one of them names is not there


def test_a_hostile_address_stays_text(tabs: Callable[..., Tab]) -> None:
    query = "%3Cimg%20src=x%20onerror=%22document.title=1%22%3E"
    for path in (f"/?q={query}&brand={query}&country={query}", f"/compare?q={query}"):
        tab = tabs()
        page = tab.open(path, "#results:not([aria-busy])")
        assert '<img src=x onerror="document.title=1">' in page.inner_text("h1")
        assert page.locator("main img[src=x]").count() == 0
        tab.forget("404")  # a picture of one of the hostile pins


def test_right_to_left_text_runs_its_own_way(tabs: Callable[..., Tab]) -> None:
    tab = tabs()
    page = tab.open("/?q=zebraphone&system=token", "#feed .card:not(.blank)")
    title = page.locator(".name:has-text('قديم')")
    assert title.evaluate("element => getComputedStyle(element).direction") == "rtl"
    page.fill("#q", "هاتف")
    assert page.eval_on_selector("#q", "field => field.matches(':dir(rtl)')")
    tab.forget("404")


def test_opening_a_result_is_a_click_in_the_log(tabs: Callable[..., Tab], world: Workspace) -> None:
    page = tabs().open("/?q=dress", "#feed .name a")
    # The links of the sample world lead nowhere: the click itself is what counts.
    page.evaluate("() => addEventListener('click', (event) => event.preventDefault())")
    with page.expect_response("**/v1/feedback") as response:
        page.locator("#feed .name a").first.click()
    assert response.value.json() == {"accepted": 1, "duplicates": 0}
    db = sqlite3.connect(world.feedback)
    row = json.loads(db.execute("SELECT row FROM events ORDER BY seq DESC").fetchone()[0])
    db.close()
    assert (row["query"], row["action"]) == ("dress", "click") and row["position"] >= 1
