"""What holds for all pages: states, accessibility, phones, and that nothing is inline."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from browser import Tab, until
from server_process import Server

from omnisearch.data.workspace import Workspace

PAGES = {
    "/": "#state .hero",
    "/?q=dress": "#feed .facts",
    "/compare?q=dress": ".result",
    "/status": "#charts svg",
    "/experiments": "#report .message",
}
SMALL = """all => all
    .filter(one => one.checkVisibility() && one.getBoundingClientRect().height < 39.5)
    .map(one => one.outerHTML)"""


def test_status_shows_the_generation_and_draws_latencies(
    tabs: Callable[..., Tab], server: Server
) -> None:
    server.json("/v1/search?q=dress")
    page = tabs().open("/status", "#facts dd")
    facts = page.inner_text("#facts")
    assert re.search(r"Generation\s+2\b", facts) and "Cache hit rate" in facts
    label = page.locator("#charts svg[aria-label^='Search:']").get_attribute("aria-label")
    assert label and "p99" in label
    assert "Synthetic data" in page.inner_text("#notes")
    page.click("#pause")
    assert page.get_attribute("#pause", "aria-pressed") == "true"


def answering(status: int, headers: dict[str, str], body: str) -> Callable[[Any], None]:
    return lambda route: route.fulfill(status=status, headers=headers, body=body)


def test_what_a_page_says_when_the_service_cannot_answer(tabs: Callable[..., Tab]) -> None:
    answers = {
        503: ("The service is busy", {"Retry-After": "7"}),
        500: ("Something went wrong here", {}),
        401: ("An API key is needed", {}),
    }
    for status, (words, headers) in answers.items():
        tab = tabs()
        body = json.dumps({"error": {"what": f"<i>what {status}</i>", "where": "", "how": "how"}})
        tab.page.route(
            re.compile(r"/v1/(search|compare|status|experiments)"),
            answering(status, headers, body),
        )
        for path in ("/?q=dress", "/compare?q=dress", "/status", "/experiments"):
            page = tab.open(path, "#state .message")
            text = page.inner_text("#state")
            assert words in text and f"<i>what {status}</i>" in text
        if status == 503:
            assert "in 7 s" in text or "in 6 s" in text
        tab.forget("the server responded with a status of")


def test_an_api_key_opens_pages_and_their_pictures(
    chromium: Any, world: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text(sha256(b"a-key").hexdigest() + "\n")
    with Server(world.root, "--api-keys", tmp_path / "keys") as guarded:
        guarded.get("/v1/search?q=warm&deadline_ms=20000", Authorization="Bearer a-key")
        tab = Tab(chromium, guarded.url)
        page = tab.open("/?q=dress", "#api-key")
        page.fill("#api-key", "a-key")
        page.press("#api-key", "Enter")
        page.wait_for_selector("#feed img")
        until(page, "document.querySelector('#feed img').naturalWidth > 0")
        tab.forget("401")
        assert tab.faults == [] and tab.foreign() == []
        tab.close()


def test_a_price_range_the_wrong_way_round_is_explained(tabs: Callable[..., Tab]) -> None:
    tab = tabs()
    page = tab.open("/?q=dress&price_min=9&price_max=3", "#state .message")
    assert "The price range is empty" in page.inner_text("#state")
    tab.forget("422")


def test_degraded_and_slow_answers_are_said_to_be(tabs: Callable[..., Tab], server: Server) -> None:
    answer = server.json("/v1/search?q=dress")
    answer["degraded"] = ["query_embedding", "learned_pins"]
    tab = tabs()
    tab.page.clock.install()
    held: list[Any] = []
    tab.page.route("**/v1/search?*", lambda route: held.append(route))
    page = tab.open("/?q=dress")
    page.clock.run_for(400)
    assert page.locator(".blank").count() == 12
    page.clock.run_for(3000)
    assert "Still searching" in page.inner_text("#state")
    held[0].fulfill(json=answer)
    page.wait_for_selector("#feed .card:not(.blank)")
    assert "without the query’s embedding and pins by meaning" in page.inner_text("#notes")
    assert page.locator(".blank").count() == 0 and page.inner_text("#state") == ""


def test_offline_and_back(tabs: Callable[..., Tab]) -> None:
    tab = tabs()
    page = tab.open("/?q=dress", "#feed .card:not(.blank)")
    tab.context.set_offline(True)
    page.fill("#q", "sofa")
    page.press("#q", "Enter")
    page.wait_for_selector("#state .message")
    assert page.is_visible("#offline") and "No connection" in page.inner_text("#state")
    tab.context.set_offline(False)
    page.wait_for_selector("#feed .card:not(.blank)")
    assert page.is_hidden("#offline") and "sofa" in page.inner_text("h1")
    tab.forget("ERR_INTERNET_DISCONNECTED")


def violations(page: Any) -> str:
    """What axe says against a page as it is now; empty if nothing."""
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is not installed"
    ).Axe()
    results = axe.run(page)
    return str(results.generate_report()) if results.violations_count else ""


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 1200), ("dark", 360)])
def test_no_accessibility_violations(
    tabs: Callable[..., Tab], server: Server, scheme: str, width: int
) -> None:
    facets = server.json("/v1/search?q=dress&facets=brand,product_types")["facets"]
    chosen = urlencode([("filter", facet["values"][0]["filter"]) for facet in facets])
    narrowed = f"/?q=dress&sort=price&language=en&price_min=1&{chosen}"
    for path, ready in {**PAGES, narrowed: "#active li:nth-child(4)"}.items():
        looks = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
        page = tabs(**looks).open(path, ready)
        if "q=" in path and "compare" not in path:
            page.wait_for_selector("#facets section", state="attached")
            page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true })")
        assert violations(page) == "", path
        if path in (narrowed, "/compare?q=dress"):
            page.fill("#q", "dre")
            page.wait_for_selector("#suggestions:not([hidden]) li")
            page.press("#q", "ArrowDown")
            assert violations(page) == "", f"{path} with suggestions"
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness = sum(int(part) for part in re.findall(r"\d+", background)[:3])
        assert (brightness > 600) == (scheme == "light")


@pytest.mark.parametrize("width", [320, 360])
def test_a_phone_scrolls_one_way_and_fingers_find_the_buttons(
    tabs: Callable[..., Tab], width: int
) -> None:
    for path, ready in PAGES.items():
        page = tabs(viewport={"width": width, "height": 700}, has_touch=True).open(path, ready)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        small = page.eval_on_selector_all(
            "button, nav a, input:not([type=radio], [type=checkbox]), select, .chips a, summary",
            SMALL,
        )
        assert small == []


def test_reduced_motion_stands_still(tabs: Callable[..., Tab]) -> None:
    tab = tabs(reduced_motion="reduce")
    tab.page.route("**/v1/search?*", lambda route: None)
    page = tab.open("/?q=dress", ".blank .frame")
    assert (
        page.locator(".blank .frame").first.evaluate("e => getComputedStyle(e).animationName")
        == "none"
    )


def test_nothing_is_inline_and_no_script_writes_html(server: Server) -> None:
    for path in ("/", "/compare", "/status", "/experiments"):
        status, headers, body = server.get(path)
        html = body.decode()
        assert status == 200 and headers["content-security-policy"].startswith("default-src 'self'")
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|https?://", html)
        for address in re.findall(r'(?:src|href)="(/assets/[^"]+)"', html):
            assert server.get(address)[0] == 200
            if address.endswith(".js"):
                code = server.get(address)[2].decode()
                assert not re.search(
                    r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", code
                )
