"""One query in three columns: what is shared, what the judges said, in text, JSON and HTML."""

from __future__ import annotations

from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from omnisearch.data.catalogue.schema import set_meta
from omnisearch.data.text.normalise import normalise_query
from omnisearch.data.workspace.errors import InputError
from omnisearch.evaluation.compare import compare_query
from omnisearch.evaluation.html_page import link, text
from omnisearch.evaluation.pictures import MAX_BYTES, picture, picture_folders
from omnisearch.evaluation.render_terminal import comparison_table
from omnisearch.evaluation.report_html import comparison_page

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></title><iframe src=//evil.example>",
    "[bold red]markup[/] \x1b[31mred\x1b]0;title\x07",
    "\u202egnippilf\u2066",
    "&lt;b&gt; &amp;",
)
VOID = {"meta", "img", "br", "link", "hr", "path", "rect"}


class Page(HTMLParser):
    """Every element and attribute of a page; fails where tags are not balanced."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


def printed(comparison: Any, width: int = 150) -> str:
    stream = StringIO()
    Console(file=stream, width=width, force_terminal=True, color_system=None).print(
        comparison_table(comparison)
    )
    return stream.getvalue()


def test_columns_mark_shared_and_judged_results(engine: Any, db: Any) -> None:
    comparison = compare_query(engine, db, "  Copper  SINK ", k=5)
    token, embedding, full = comparison.columns
    assert [hit.id for hit in token.hits] == ["p9", "p10", "p0", "p3", "s12"]
    # The mean of two judges decides: p0 has 1 and 1, p2 has 0 and 1, p10 has 0.2 and 0.4.
    assert [hit.relevant for hit in token.hits] == [False, False, True, None, None]
    assert [hit.gain for hit in embedding.hits[:3]] == [1.0, 0.75, 0.5]
    assert (token.relevant, token.irrelevant, token.unjudged) == (1, 2, 2)
    assert token.hits[2].also == ("embedding", "full")
    assert token.hits[3].also == ()
    assert comparison.overlap == {
        "token & embedding": 1,
        "token & full": 2,
        "embedding & full": 4,
    }
    assert comparison.judged == 5
    assert full.ndcg is not None and token.ndcg is not None and full.ndcg > token.ndcg
    # p0, p1, p2, p10 with grades 1, 0.75, 0.5, 0.3 are in the best order; what else is unjudged.
    assert full.condensed_ndcg == pytest.approx(1.0) and full.ndcg < 0.99
    assert token.condensed_ndcg == token.ndcg  # its judged results come first
    assert token.hits[4].price == 112.0 and token.hits[4].currency == "USD"
    assert comparison.related == ["antique basin", "copper tap"]
    assert orjson.loads(orjson.dumps(comparison.to_json()))["columns"][0]["hits"][2]["also"] == [
        "embedding",
        "full",
    ]


def test_a_query_nobody_judged_has_no_verdicts(engine: Any, db: Any) -> None:
    db.conn.execute("DELETE FROM judgments")
    comparison = compare_query(engine, db, "copper sink")
    assert all(hit.relevant is None for column in comparison.columns for hit in column.hits)
    assert comparison.columns[0].ndcg is comparison.columns[0].condensed_ndcg is None
    page = Page(comparison_page(comparison))
    assert "Nobody has judged results for this query." in page.texts
    assert not any("relevant" in line for line in page.texts)
    assert "Nobody has judged" in printed(comparison)


def test_what_the_data_is_stands_in_every_output(engine: Any, synthetic: Any) -> None:
    with synthetic.conn:
        set_meta(synthetic, "derived_from_labels", ["esci", "tate"])
    engine.notes = ["No rankers are trained."]
    comparison = compare_query(engine, synthetic, "copper sink")
    for output in (comparison_page(comparison), printed(comparison), str(comparison.to_json())):
        assert "Synthetic data" in output
        assert "derived from the labels of esci, tate" in output
        assert output.count("No rankers are trained.") == 1


@pytest.mark.parametrize(("query", "k"), [("", 5), ("   ", 5), ("sink", 0)])
def test_empty_queries_and_nothing_to_show_are_refused(
    engine: Any, db: Any, query: str, k: int
) -> None:
    with pytest.raises(InputError):
        compare_query(engine, db, query, k=k)


def test_verdicts_are_words_as_well_as_colours(engine: Any, db: Any, tmp_path: Path) -> None:
    comparison = compare_query(engine, db, "copper sink", k=5)
    page = Page(comparison_page(comparison, [tmp_path]))
    assert page.texts.count("✓ relevant") == sum(c.relevant for c in comparison.columns) == 7
    assert page.texts.count("✗ irrelevant") == sum(c.irrelevant for c in comparison.columns) == 2
    assert page.texts.count("in all 3") == 3
    shown = printed(comparison)
    assert shown.count("✓ Copper") == 7 and shown.count("✗ Copper") == 2
    assert "●●●" in shown and "○●●" in shown


def test_local_pictures_are_embedded_and_remote_ones_are_not_fetched_eagerly(
    engine: Any, db: Any, tmp_path: Path
) -> None:
    db["pins"].update("p1", {"image": "https://pictures.example/1.jpg?a=1&b=2"})
    db["pins"].update("p2", {"image": "pictures/not there.svg"})
    db["pins"].update("p5", {"image": "javascript:alert(1)"})
    allowed = {"https://pictures.example"}
    page = Page(comparison_page(compare_query(engine, db, "copper sink"), [tmp_path], allowed))
    sources = [str(attrs["src"]) for attrs in page.all("img")]
    remote = [attrs for attrs in page.all("img") if str(attrs["src"]).startswith("http")]
    assert sum(source.startswith("data:image/svg+xml;base64,") for source in sources) >= 15
    assert {attrs["src"] for attrs in remote} == {"https://pictures.example/1.jpg?a=1&b=2"}
    for attrs in remote:
        assert attrs["referrerpolicy"] == "no-referrer" and attrs["loading"] == "lazy"
    assert all(
        source.startswith(("data:image/", "https://pictures.example/")) for source in sources
    )
    # The picture holds a script; inside <img> it cannot run, and nothing puts it into the page.
    assert page.all("script") == [] and page.all("svg") == []


def test_a_page_loads_pictures_from_allowed_origins_only(
    engine: Any, db: Any, tmp_path: Path
) -> None:
    db["pins"].update("p1", {"image": "https://i.example.com/1.png"})
    db["pins"].update("p2", {"image": "https://tracker.example/2.png"})
    db["pins"].update("p3", {"image": "https://i.example.com@tracker.example/3.png"})
    comparison = compare_query(engine, db, "copper sink")
    for origins in (set(), {"https://i.example.com"}):
        page = Page(comparison_page(comparison, [tmp_path], origins))
        remote = {str(image["src"]) for image in page.all("img")}
        remote = {source for source in remote if not source.startswith("data:")}
        assert remote == {f"{origin}/1.png" for origin in origins}
        policy = next(str(m["content"]) for m in page.all("meta") if "http-equiv" in m)
        assert f"; img-src {' '.join(['data:', *origins])}; " in policy


def test_a_page_embeds_no_picture_from_outside_the_imported_folders(tmp_path: Path) -> None:
    (tmp_path / "imported").mkdir()
    (tmp_path / "private.png").write_bytes(PNG)
    (tmp_path / "imported" / "link.png").symlink_to(tmp_path / "private.png")
    for image in (str(tmp_path / "private.png"), "../private.png", "link.png"):
        assert picture(image, [tmp_path / "imported"]) is None


@pytest.mark.parametrize("bad", HOSTILE)
def test_hostile_text_stays_text(engine: Any, db: Any, bad: str) -> None:
    db.conn.execute("UPDATE pins SET title = ?, link = ?", [bad, f"javascript:{bad}"])
    db.conn.execute("UPDATE products SET brand = ?, currency = ?", [bad, bad])
    engine.related = [bad]
    query = f"copper sink {bad}"
    for system in engine.rankings.values():
        system[normalise_query(query)] = system["copper sink"]
    comparison = compare_query(engine, db, query)
    page = Page(comparison_page(comparison))
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "object", "embed", "form", "b", "base"}
    for _, attrs in page.elements:
        assert not any(name.startswith("on") for name in attrs)
        assert not str(attrs.get("href", "")).lower().startswith("javascript")
    whole = "".join(page.texts)
    assert "\u202e" not in whole and "\x1b" not in whole
    shown = printed(comparison)
    assert "\x1b]" not in shown and "\x07" not in shown and "\u202e" not in shown
    if bad.startswith("["):
        assert "[bold red]markup[/]" in shown


def test_the_page_forbids_scripts_and_needs_no_other_file(engine: Any, db: Any) -> None:
    page = Page(comparison_page(compare_query(engine, db, "copper sink")))
    policy = next(
        attrs["content"]
        for attrs in page.all("meta")
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert str(policy).startswith("default-src 'none'") and "script-src" not in str(policy)
    assert page.all("link") == []
    style = "".join(page.texts)
    assert "prefers-color-scheme: dark" in style and "url(" not in style
    assert page.all("html") == [{"lang": "en"}]


def test_pictures_are_told_by_their_content(tmp_path: Path) -> None:
    kinds = {
        "a.svg": (b"PNG in name only", None),
        "secret": (b"root:x:0:0:root:/root:/bin/sh\n", None),
        "b": (PNG, "image/png"),
        "c.txt": (b"\xff\xd8\xff\xe0...", "image/jpeg"),
        "d.gif": (b"GIF89a...", "image/gif"),
        "e": (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        "f": (b'\xef\xbb\xbf<?xml version="1.0"?><!-- x --><svg/>', "image/svg+xml"),
        "g.svg": (b"<html><svg></svg></html>", None),
        "h.png": (PNG + bytes(MAX_BYTES), None),
        "i.png": (b"", None),
    }
    for name, (content, kind) in kinds.items():
        (tmp_path / name).write_bytes(content)
        found = picture(name, [tmp_path])
        assert (found and found.src.split(";")[0].removeprefix("data:")) == kind, name
        assert picture(str(tmp_path / name), [tmp_path]) == found


def test_relative_pictures_start_where_the_import_did(db: Any, tmp_path: Path) -> None:
    for number, name in enumerate(("old/pins.jsonl", "pins.jsonl", "boards.jsonl"), 1):
        db["imports"].insert({"id": number, "file": str(tmp_path / name), "time": number})
    assert picture_folders(db) == [tmp_path, tmp_path / "old"]
    assert picture("pictures/0.svg", picture_folders(db)) is not None


@pytest.mark.parametrize("image", ["", "x\0y", "http://", "https://[bad", "data:text/html,x", "/"])
def test_no_picture_is_no_error(image: str, tmp_path: Path) -> None:
    assert picture(image, [tmp_path]) is None


@given(st.text())
def test_escaped_text_has_no_live_characters(value: str) -> None:
    safe = text(value)
    assert not set(safe) & set("<>\"'\x00\x1b\u202e")
    safe.encode("utf-8")


@given(st.text())
def test_only_web_addresses_become_links(value: str) -> None:
    found = link(value)
    assert found is None or found.lower().startswith(("http://", "https://"))
    assert link("JaVaScRiPt:alert(1)") is None and link("//evil.example") is None
    assert link('https://x.example/"onclick=') == "https://x.example/&quot;onclick="
