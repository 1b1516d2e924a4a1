"""Files of rules: what is right is read, and what is wrong is named by its line and field."""

from __future__ import annotations

import math
from datetime import datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnisearch.engine.rules.file import MOST_FOR_ALL, read_rules
from omnisearch.engine.rules.matching import Matching, stems_of
from omnisearch.engine.rules.rule import Rule, rule_from_json

FILE = """version = 1

[[synonyms]]
words = ["Sofa", "couch"]

[[synonyms]]
name = "phones"
from = "Handy"
to = ["smartphone", "mobile phone"]
language = "de-AT"

[[pin]]
query = ["Christmas  Gifts", "xmas"]
item = "product/a/b7"
place = 2
start = 2026-12-01T00:00:00Z
end = 2026-12-27T00:00:00+01:00

[[boost]]
prefix = "lamp"
filter = ["brand=Acme", "price<=30"]
places = 10

[[bury]]
all = true
item = ["pin/p1", "pin/p2"]
places = 200

[[hide]]
words = "gift card"
item = "product/g1"
"""


def read(text: str) -> list[Rule]:
    rules, faults = read_rules(text.encode())
    assert faults == []
    return rules


def said(text: str) -> list[tuple[int, str]]:
    return [(fault.line, fault.field) for fault in read_rules(text.encode())[1]]


def test_a_file_of_every_kind() -> None:
    sofa, handy, pin, boost, bury, hide = read(FILE)
    assert (sofa.source, sofa.target, sofa.line) == (("sofa", "couch"), ("sofa", "couch"), 3)
    assert (handy.source, handy.target) == (("handy",), ("smartphone", "mobile phone"))
    assert (handy.language, handy.said) == ("de", "synonyms “phones”")
    assert (pin.query, pin.item) == (("christmas gifts", "xmas"), (("product", "a/b7"),))
    assert pin.places == 2 and pin.said == "pin of line 12"
    assert pin.start == datetime.fromisoformat("2026-12-01T00:00:00+00:00").timestamp()
    assert pin.end == datetime.fromisoformat("2026-12-26T23:00:00+00:00").timestamp()
    assert not pin.acts(pin.start - 1) and pin.acts(pin.start) and not pin.acts(pin.end)
    assert boost.filter == ("brand=Acme", "price<=30") and boost.prefix == ("lamp",)
    assert bury.about_all and bury.item == (("pin", "p1"), ("pin", "p2"))
    assert hide.words == ("gift card",) and hide.end == math.inf


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", [(1, "version")]),
        ("version = 2", [(1, "version")]),
        ("version = 1\n[[pins]]\nplace = 1", [(1, "pins")]),
        ("version = 1\nwhat", [(2, "")]),
        ("version = 1\npin = [{query = 'a', item = 'pin/a', place = 1}]", [(1, "pin")]),
        ("version = 1\n[pin]\nplace = 1", [(1, "pin")]),
        ("version = 1\n[[synonyms]]\nwords = ['a']", [(3, "words")]),
        ("version = 1\n[[synonyms]]\nwords = ['a', '!!']", [(3, "words")]),
        ("version = 1\n[[synonyms]]\nfrom = 'a'", [(2, "to")]),
        ("version = 1\n[[synonyms]]\nfrom = 'a'\nto = 'b'\nlanguage = '12'", [(5, "language")]),
        ("version = 1\n[[hide]]\nitem = 'pin/a'", [(2, "query")]),
        ("version = 1\n[[hide]]\nall = false\nitem = 'pin/a'", [(3, "all")]),
        ("version = 1\n[[hide]]\nall = true\nquery = 'a'\nitem = 'pin/a'", [(3, "all")]),
        ("version = 1\n[[hide]]\nall = true\n", [(2, "item")]),
        ("version = 1\n[[hide]]\nall = true\nitem = 'shoe/a'", [(4, "item")]),
        ("version = 1\n[[hide]]\nall = true\nitem = 'pin/a'\nfilter = 'brand=b'", [(5, "filter")]),
        ("version = 1\n[[hide]]\nall = true\nfilter = 'brand='", [(4, "filter")]),
        ("version = 1\n[[hide]]\nall = true\nitem = 'pin/a'\nplace = 1", [(5, "place")]),
        ("version = 1\n[[hide]]\nquery = 7\nitem = 'pin/a'", [(3, "query")]),
        ("version = 1\n[[hide]]\nquery = []\nitem = 'pin/a'", [(3, "query")]),
        ("version = 1\n[[pin]]\nquery = 'a'\nitem = 'pin/a'\nplace = 0", [(5, "place")]),
        ("version = 1\n[[pin]]\nquery = 'a'\nitem = ['pin/a', 'pin/b']\nplace = 1", [(4, "item")]),
        ("version = 1\n[[pin]]\nquery = 'a'\nitem = 'pin/a'\nplace = true", [(5, "place")]),
        (
            "version = 1\n[[boost]]\nall = true\nitem = 'pin/a'\nplaces = 201\nstart = '2026'",
            [(5, "places"), (6, "start")],
        ),
        (
            "version = 1\n[[hide]]\nall = true\nitem = 'pin/a'\nstart = 2026-01-01T00:00:00",
            [(5, "start")],
        ),
        (
            "version = 1\n[[hide]]\nall = true\nitem = 'pin/a'\n"
            "start = 2026-01-02T00:00:00Z\nend = 2026-01-01T00:00:00Z",
            [(6, "end")],
        ),
        ('version = 1\n[[hide]]\nquery = """a\n[[pin]]"""\nitem = "pin/a"', [(1, ""), (1, "")]),
    ],
)
def test_each_fault_has_its_line_and_field(text: str, where: list[tuple[int, str]]) -> None:
    found = said(text)
    if where[0] == (1, ""):
        assert found  # a text of several lines hides where the others are; it is a fault
    else:
        assert found == where


def test_all_faults_are_told_and_the_right_rules_kept() -> None:
    rules, faults = read_rules(
        b"version = 1\n[[hide]]\nall = true\n[[hide]]\nquery = 'a'\nitem = 'pin/a'\n"
        b"[[boost]]\nquery = 'b'\nitem = 'pin/a'\nplaces = -1\n"
    )
    assert [rule.query for rule in rules] == [("a",)]
    assert [str(fault) for fault in faults] == [
        "line 2, item: The rule does not say which items it is about. "
        'Name one, such as "product/b7", or give a filter.',
        "line 10, places: It must be a whole number from 1 to 200.",
    ]


def test_rules_for_all_queries_are_bounded() -> None:
    rule = "\n[[bury]]\nall = true\nfilter = 'brand=a'\nplaces = 1"
    assert said("version = 1" + rule * MOST_FOR_ALL) == []
    assert [field for _, field in said("version = 1" + rule * (MOST_FOR_ALL + 1))] == ["all"]


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_are_rules_or_faults(content: bytes) -> None:
    rules, faults = read_rules(content)
    assert faults or isinstance(rules, list)


TOML = st.recursive(
    st.integers(-3, 300) | st.booleans() | st.text(max_size=5).map(repr) | st.just("1979-05-27"),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
NAMES = st.sampled_from(
    ["query", "prefix", "words", "all", "item", "filter", "place", "places", "start", "name"]
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["synonyms", "pin", "boost", "bury", "hide"]),
            st.dictionaries(NAMES, TOML, max_size=5),
        ),
        max_size=4,
    )
)
def test_any_tables_are_rules_or_faults(tables: list[tuple[str, dict[str, object]]]) -> None:
    lines = ["version = 1"]
    for kind, fields in tables:
        lines.append(f"[[{kind}]]")
        lines += [
            f"{name} = {str(value).replace('True', 'true')}" for name, value in fields.items()
        ]
    rules, faults = read_rules("\n".join(lines).encode())
    assert all(1 <= fault.line <= len(lines) for fault in faults)
    assert len(rules) <= len(tables)


def test_rules_come_back_from_json() -> None:
    for rule in read(FILE):
        assert rule_from_json(orjson.loads(orjson.dumps(rule.to_json()))) == rule


WORDS = st.sampled_from(["red", "sofa", "sofas", "lamp", "a", "lampshade", "café"])
QUERIES = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)
WHEN = st.tuples(st.sampled_from(["query", "prefix", "words"]), st.lists(QUERIES, min_size=1))


def same(text: str) -> list[str]:
    """Its words, singular and plural alike."""
    return [word.removesuffix("s") for word in text.split()]


@given(st.lists(WHEN, max_size=20), st.lists(QUERIES, min_size=1, max_size=2))
def test_a_look_up_finds_what_a_plain_loop_finds(
    when: list[tuple[str, list[str]]], queries: list[str]
) -> None:
    rules = [Rule("hide", line, **{name: tuple(texts)}) for line, (name, texts) in enumerate(when)]
    is_for = {
        "query": lambda text, query: text == query,
        "prefix": lambda text, query: query.startswith(text),
        "words": lambda text, query: set(same(text)) <= set(same(query)),
    }
    expected = [
        at
        for at, (name, texts) in enumerate(when)
        if any(is_for[name](text, query) for text in texts for query in queries)
    ]
    matching = Matching(rules)
    for _ in range(2):  # found, and remembered
        found = matching.of(tuple(queries))
        assert sorted(found) == expected
        kinds = [when[at][0] for at in found]
        assert kinds == sorted(kinds, key=["query", "prefix", "words"].index)


@given(st.lists(st.lists(QUERIES, min_size=1, max_size=3), max_size=20), QUERIES)
def test_phrases_of_synonyms_are_those_of_a_plain_loop(
    sources: list[list[str]], query: str
) -> None:
    rules = [Rule("synonyms", line, source=tuple(texts)) for line, texts in enumerate(sources)]
    said = same(query)
    expected = [
        (stems_of(" ".join(phrase)), at)
        for at, texts in enumerate(sources)
        for phrase in map(same, texts)
        for start in range(len(said))
        if said[start : start + len(phrase)] == phrase
    ]
    assert sorted(Matching(rules).phrases(query)) == sorted(expected)
