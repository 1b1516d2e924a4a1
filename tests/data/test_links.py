"""Links of a catalogue: what a page may let a reader follow."""

from __future__ import annotations

import csv
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisearch.data.catalogue.schema import open_catalogue
from omnisearch.data.importers.files import ImportOptions, import_file
from omnisearch.data.text.links import safe_link
from omnisearch.data.workspace.errors import InputError


@pytest.mark.parametrize(
    "link",
    [
        "https://shop.example/p?id=7#top",
        "HTTP://SHOP.EXAMPLE/",
        " https://shop.example/café ",
        "//shop.example/p",
        "/p/7",
        "p/7?next=javascript:alert(1)",
        "shop.example/p/7",
    ],
)
def test_web_addresses_and_paths_are_links(link):
    assert safe_link(link)


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "  javascript:alert(1)",
        "\x01javascript:alert(1)",
        "\u2028javascript:alert(1)",
        "java\tscript:alert(1)",
        "java\r\nscript:alert(1)",
        "javascript\n:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:msgbox",
        "file:///etc/passwd",
        "blob:https://shop.example/7",
        "mailto:a@shop.example",
        "https://shop.example/\x00",
        "",
        " ",
    ],
)
def test_other_schemes_and_control_characters_are_not(link):
    assert not safe_link(link)


@given(st.text(st.sampled_from("javscriptdhttps:/\t\n\r\x00\x1f \u00a0\u2028#."), max_size=16))
def test_what_a_browser_reads_as_a_scheme_is_http_or_nothing(link):
    """By the URL standard: controls and spaces at the ends go, tabs and line ends anywhere."""
    read = re.sub(r"[\t\r\n]", "", link.strip("".join(map(chr, range(0x21)))))
    scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*(?=:)", read)
    if safe_link(link):
        assert scheme is None or scheme[0].lower() in ("http", "https")


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_row_with_an_unsafe_link_is_taken_without_it(workspace, tmp_path, suffix):
    unsafe = ["javascript:alert(1)", "\x01JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x"]
    links = [*unsafe, "https://shop.example/7", "/p/7", None]
    rows = [{"id": f"p{i}", "title": "pan", "link": link} for i, link in enumerate(links)]
    path = tmp_path / f"products.{suffix}"
    with path.open("w", newline="") as file:
        if suffix == "csv":
            writer = csv.DictWriter(file, ["id", "title", "link"])
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.write("".join(json.dumps(row) + "\n" for row in rows))
    report = import_file(workspace, path)
    assert (report.rows, report.taken, report.refused, report.left_out) == (7, 7, 0, 4)
    reason = "is not an http or https address, and was left out"
    assert report.reasons == {f"link {reason}": 4}
    listed = [json.loads(line) for line in report.rejects.read_text().splitlines()]
    assert [row["value"] for row in listed] == unsafe
    db = open_catalogue(workspace.catalogue)
    found = db.conn.execute("SELECT title, link FROM products ORDER BY id").fetchall()
    db.conn.close()
    assert found == [*[("pan", None)] * 4, ("pan", links[4]), ("pan", links[5]), ("pan", None)]
    with pytest.raises(InputError, match=r"4 values were refused"):
        import_file(workspace, path, options=ImportOptions(strict=True))
