"""The side-by-side page and its judging, driven in headless Chromium."""

from __future__ import annotations

from collections.abc import Callable

from browser import Tab, focused, judged
from server_process import Server

from omnisearch.data.workspace import Workspace


def test_judging_with_the_keyboard_writes_judgments(
    tabs: Callable[..., Tab], world: Workspace, server: Server
) -> None:
    found = server.json("/v1/compare?q=dress&a=token&b=embedding&k=12")
    page = tabs().open("/compare?q=dress&a=token&b=embedding", ".result")
    assert page.locator(".result").count() == 24
    page.keyboard.press("r")
    assert focused(page) == "judge"  # a name is needed first
    page.keyboard.type("Ada ritis")  # letters of a name are no verdicts
    page.keyboard.press("Enter")
    with page.expect_response("**/v1/judgments"):
        page.keyboard.press("r")
    with page.expect_response("**/v1/judgments"):
        page.keyboard.press("i")
    page.keyboard.press("s")
    with page.expect_response("**/v1/judgments"):
        page.keyboard.press("r")
    assert "3 of" in page.inner_text("#tally") and "1 skipped" in page.inner_text("#tally")
    with page.expect_response("**/v1/judgments"):
        page.keyboard.press("u")
    assert "2 of" in page.inner_text("#tally")
    left, right = (column["hits"] for column in found["columns"])
    order = list(
        dict.fromkeys(
            (hit["entity"], hit["id"]) for pair in zip(left, right, strict=True) for hit in pair
        )
    )
    rows = [row for row in judged(world) if row["judge"] == "Ada ritis"]
    assert [(row["entity"], row["item_id"]) for row in rows] == [
        order[0],
        order[1],
        order[3],
        order[3],
    ]
    top = found["top_grades"][""]
    assert [row["grade"] for row in rows] == [top, 0, top, None]
    assert {row["query"] for row in rows} == {"dress"}
    page.reload()
    page.wait_for_selector(".result")
    assert page.input_value("#judge") == "Ada ritis" and "2 of" in page.inner_text("#tally")
    assert "you: relevant" in page.inner_text("#columns")


def test_arrows_move_and_can_be_switched_off(tabs: Callable[..., Tab]) -> None:
    page = tabs(viewport={"width": 1200, "height": 900}).open("/compare?q=dress", ".result")
    now = "document.getElementById('current').textContent"
    assert page.evaluate(now).startswith("Token 1:")
    for key, place in (
        ("ArrowRight", "Token 2:"),
        ("ArrowLeft", "Token 1:"),
        ("ArrowDown", "Token 4:"),
    ):
        page.keyboard.press(key)
        assert page.evaluate(now).startswith(place)
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert page.evaluate(now).startswith("Full stack")
    assert page.evaluate("document.activeElement.matches('.result[aria-current]')")
    page.uncheck("#keys")
    before = page.evaluate(now)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("r")
    assert page.evaluate(now) == before


def test_judging_by_buttons_and_marks_without_colour(tabs: Callable[..., Tab]) -> None:
    page = tabs().open("/compare?q=white+dress", ".result")
    page.fill("#judge", "Grace")
    button = page.locator(".result .toggle .bad").first
    with page.expect_response("**/v1/judgments"):
        button.click()
    assert button.get_attribute("aria-pressed") == "true"
    card = page.locator(".result").first
    assert card.locator(".verdict").inner_text() == "✗ you: irrelevant"
    style = "frame => getComputedStyle(frame).outlineStyle"
    assert card.locator(".frame").evaluate(style) == "dashed"
    with page.expect_response("**/v1/judgments"):
        button.click()
    assert button.get_attribute("aria-pressed") == "false"


def test_shared_results_say_their_place_in_the_other_column(
    tabs: Callable[..., Tab], server: Server
) -> None:
    found = server.json("/v1/compare?q=dress&a=token&b=rrf&k=12")
    left, right = ({(h["entity"], h["id"]): h["rank"] for h in c["hits"]} for c in found["columns"])
    shared = [right[key] for key in left if key in right]
    page = tabs().open("/compare?q=dress&a=token&b=rrf", ".result")
    marks = page.locator(".column").first.locator(".both .unseen").all_text_contents()
    assert marks == [f"also at place {rank} in the other column" for rank in shared] != []
    page.select_option("#b", "token")  # the same twice: the two swap
    page.wait_for_url("**a=rrf&b=token")


def test_judgments_wait_for_the_connection(tabs: Callable[..., Tab], world: Workspace) -> None:
    tab = tabs()
    page = tab.open("/compare?q=pink+dress", ".result")
    page.fill("#judge", "Hopper")
    tab.context.set_offline(True)
    page.click("#relevant")
    page.wait_for_selector("#unsent:visible")
    assert "1 not sent yet" in page.inner_text("#unsent") and page.is_visible("#offline")
    with page.expect_response("**/v1/judgments"):
        tab.context.set_offline(False)
    page.wait_for_selector("#unsent", state="hidden")
    assert [row["judge"] for row in judged(world)].count("Hopper") == 1
    tab.forget("ERR_INTERNET_DISCONNECTED")
