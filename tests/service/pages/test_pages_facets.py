"""The sidebar and the order of results, driven in headless Chromium against a real server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from browser import Tab, shown, until

BRANDS = "#facets section:has(h3:text-is('Brand')) a"


def test_facets_filter_and_chips_remove_with_the_keyboard_alone(tabs: Callable[..., Tab]) -> None:
    page = tabs().open("/?q=dress", BRANDS)
    first = page.locator(BRANDS).first
    name, number = first.locator("bdi").inner_text(), first.locator(".soft").inner_text()
    first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**filter=brand*")
    page.wait_for_selector(f"{BRANDS}[aria-current]")
    assert shown(page)
    brands = page.locator("#feed .facts bdi").all_inner_texts()
    assert set(brands) == {name}
    chosen = page.locator(f"{BRANDS}[aria-current]")
    assert chosen.locator("bdi").inner_text() == name
    assert chosen.locator(".soft").inner_text() == number  # it does not narrow itself
    second = page.locator(f"{BRANDS}:not([aria-current])").first
    other = second.locator("bdi").inner_text()
    second.focus()
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('#facets [aria-current]').length === 2")
    assert shown(page)
    assert set(page.locator("#feed .facts bdi").all_inner_texts()) == {name, other}
    chip = page.locator("#active a")
    assert chip.inner_text().startswith(("Remove", "brand"))
    chip.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/\?q=dress$"))
    until(page, "document.querySelectorAll('#facets [aria-current]').length === 0")


def test_a_brand_with_signs_of_the_filter_syntax_is_one_brand(tabs: Callable[..., Tab]) -> None:
    page = tabs().open("/?q=quillboard", BRANDS)
    assert page.inner_text("#meta").startswith("4 items have all words · ")
    for name, count in (("Left|Right", 2), ("Left", 1), ("Back\\slash|", 1)):
        page.locator(BRANDS).filter(has=page.locator(f"bdi:text-is({json.dumps(name)})")).click()
        until(page, "document.querySelectorAll('#active a').length === 1")
        have = "item has" if count == 1 else "items have"
        until(page, f"document.getElementById('meta').innerText.startsWith('{count} {have}')")
        assert page.locator("#feed .facts bdi").all_inner_texts() == [name] * count
        assert f"brand: {name}" in page.inner_text("#active a")
        page.click("#active a")
        until(page, "document.getElementById('meta').innerText.startsWith('4 items')")


def test_results_are_sorted_over_pages(tabs: Callable[..., Tab]) -> None:
    page = tabs().open("/?q=dress", "#feed .card:not(.blank)")
    page.select_option("#sort", "price")
    page.wait_for_url("**sort=price")
    assert len(shown(page)) == 24
    page.click("#more a")
    until(page, "document.querySelectorAll('#feed .card:not(.blank)').length > 24")
    prices = [
        float(re.sub(r"[^\d.]", "", text))
        for text in page.locator("#feed .price").all_inner_texts()
    ]
    assert prices == sorted(prices)
    page.fill("#q", "lamp")
    page.press("#q", "Enter")
    page.wait_for_url("**q=lamp*sort=price")


def test_on_a_phone_the_sidebar_is_closed_and_nothing_is_wider(tabs: Callable[..., Tab]) -> None:
    for scheme in ("light", "dark"):
        phone = {"viewport": {"width": 360, "height": 740}, "color_scheme": scheme}
        page = tabs(**phone).open("/?q=dress", "#facets")
        assert shown(page)
        assert not page.locator("#facets > details").evaluate("each => each.open")
        page.click("#facets > details > summary")
        page.wait_for_selector(BRANDS)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_filter_on_nothing_says_what_there_is(tabs: Callable[..., Tab]) -> None:
    tab = tabs()
    tab.forget("422")
    page = tab.open("/?q=dress&filter=shape%3Dround", "#state .message")
    assert "No item has an attribute" in page.inner_text("#state")
    assert "brand" in page.inner_text("#state")
    page.click("#active a")
    page.wait_for_url(re.compile(r"/\?q=dress$"))
    assert shown(page)
