"""Words that no item has, and what stands for them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexer_fakes import FakeEncoder, new_catalogue, put
from rapidfuzz.distance import OSA

from omnisearch.data.text.tokens import tokens
from omnisearch.data.workspace.errors import Corrupt
from omnisearch.indexer.build import build
from omnisearch.indexer.generation import Generation
from omnisearch.indexer.parts.spelling import MOST_REPLACED, Spelling
from omnisearch.indexer.parts.spelling_file import (
    SPELLING_FILE,
    keys_of,
    open_spelling,
    write_spelling,
)
from omnisearch.indexer.parts.tokens import open_tokens, write_tokens
from omnisearch.indexer.update import update

COUNTS = {
    "ethernet": 9, "cable": 30, "cables": 5, "ceiling": 8, "fan": 20, "power": 7, "tool": 12,
    "stud": 3, "study": 40, "gray": 9, "grape": 2, "ft": 5, "10": 6, "12": 4, "x": 3, "air": 4,
    "conditioner": 4, "türgriff": 2, "кабель": 3, "q1200": 1, "किताब": 3, "கைப்பேசி": 2, "가방끈": 4,
    "가방": 8, "schluessel": 2,
}  # fmt: skip


def spelling_of(folder: Path, counts: dict[str, int], known: tuple[str, ...] = ()) -> Spelling:
    write_spelling(folder, counts, keys_of(known))
    return open_spelling(folder)


@pytest.mark.parametrize(
    ("query", "searched"),
    [
        ("ethjernet cable", "ethernet cable"),  # one letter more
        ("etehrnet cable", "ethernet cable"),  # two changed places
        ("ceilng fan", "ceiling fan"),  # one letter less
        ("air condiioner", "air conditioner"),
        ("condeetioner", "condeetioner"),  # two letters differ
        ("grame", "grape"),
        ("studa", "study"),  # study and stud are as near; more items have study
        ("powertool", "power tool"),
        ("10ft cable", "10ft cable"),  # its words are those of "10 ft cable"
        ("10x12", "10x12"),
        ("q1200 ethernt200", "q1200 ethernt200"),  # what is glued to a number may be a code
        ("10 feet, 20 volt", "10 feet, 20 volt"),
        ("cabling", "cabling"),  # its stem is that of a word of the catalogue
        ("the ethernt, (fan)", "the ethernet, (fan)"),  # the rest of the text stays
        ("турка кабел", "турка кабель"),
        ("turgriff", "turgriff"),  # is found without its accent
        ("turgrif", "turgrif"),
        ("türgrif", "türgriff"),
        ("tuergriff", "türgriff"),
        ("schlüssel", "schluessel"),
        ("कितब", "किताब"),  # a vowel sign less
        ("கைப்பேசீ", "கைப்பேசி"),
        ("가망끈", "가방끈"),  # another part of a syllable
        ("각방끈", "가방끈"),
        ("강장끈", "강장끈"),  # two other parts
        ("가발", "가발"),  # not a bag: too short to tell
        ("q1300", "q1300"),  # a number is not another number
        ("fun", "fun"),  # too short to tell
        ("without", "without"),
        ("銅の流し", "銅の流し"),
        ("xylophone", "xylophone"),
    ],
)
def test_unknown_words_are_spelled_as_items_spell_them(
    tmp_path: Path, query: str, searched: str
) -> None:
    assert spelling_of(tmp_path, COUNTS).respelled(query) == searched


TITLES = ["hora de korea", "hora de china", "korona czeska", "sofa china", "sofa china", "lao"]


@pytest.mark.parametrize("backend", ["tantivy", "rank-bm25"])
@pytest.mark.parametrize(
    ("query", "searched"),
    [
        ("chino sofa", "china sofa"),
        ("kora de hora", "korea de hora"),
        ("hra de korea", "hora de korea"),  # a short word that one item has beside the others
        ("hra", "hra"),
        ("hra sofa", "hra sofa"),  # no item has both
        ("shina", "china"),  # nothing else tells
        ("lao shina", "lao shina"),  # no item has both
        ("corea", "corea"),  # the query tower knows it
        ("hora de corea", "hora de korea"),
    ],
)
def test_the_other_words_of_the_query_tell(
    backend: str, query: str, searched: str, tmp_path: Path
) -> None:
    write_tokens(tmp_path, [" ".join(tokens(title)) for title in TITLES])
    counts = Counter(word for title in TITLES for word in title.split())
    write_spelling(tmp_path, counts | Counter(hora=5, chini=7, kore=8), keys_of(["corea"]))
    index = open_tokens(tmp_path, len(TITLES), backend)
    assert open_spelling(tmp_path, (index,)).respelled(query) == searched


def test_a_word_that_the_query_tower_knows_is_left_alone(tmp_path: Path) -> None:
    assert spelling_of(tmp_path, {"twin": 5}).respelled("twigs") == "twigs"  # two edits
    assert spelling_of(tmp_path, {"twin": 5}).respelled("twig") == "twin"
    assert spelling_of(tmp_path, {"twin": 5}, ("twig", "##in")).respelled("twig") == "twig"


WORD = st.text("abcd", min_size=4, max_size=9)


@given(st.dictionaries(WORD, st.integers(1, 5), max_size=12), WORD)
def test_the_nearest_word_is_the_one_that_looking_at_all_finds(
    tmp_path_factory: pytest.TempPathFactory, counts: dict[str, int], word: str
) -> None:
    spelling = spelling_of(tmp_path_factory.mktemp("words"), counts)
    assert {spelling.replaced(known) for known in counts} == set(counts)
    near = [other for other in counts if OSA.distance(word, other) == 1]
    if near and not {tuple(tokens(word))} & {tuple(tokens(other)) for other in counts}:
        assert spelling.replaced(word) == min(near, key=lambda other: (-counts[other], other))
    else:
        assert set(spelling.replaced(word).split()) <= {word, *counts}


def test_a_query_of_very_many_unknown_words_is_bounded(tmp_path: Path) -> None:
    spelling = spelling_of(tmp_path, {"cable": 3})
    query = " ".join(f"{letter}cable" for letter in "abdefghijklmnop")
    assert spelling.respelled(query).split().count("cable") == MOST_REPLACED
    long = "cabl" * 100
    assert spelling.respelled(long) == long


def test_an_update_adds_the_words_of_new_items(tmp_path: Path) -> None:
    workspace, db = new_catalogue(tmp_path)
    put(db, "pin", id="1", title="Copper sinks", engaged_queries='[["kopper", 1, 1]]')
    build(workspace, db, FakeEncoder())
    first = Generation.open(workspace).spelling
    assert (first.respelled("kopper sink"), first.respelled("gadren")) == ("copper sink", "gadren")
    assert first.respelled("knwn known") == "knwn known"  # the encoder's word suggests nothing
    assert first.respelled("coper") == "copper"
    put(db, "pin", id="2", title="Garden 7up")
    put(db, "product", id="3", sku="CO-PER")
    update(workspace, db, FakeEncoder())
    second = Generation.open(workspace).spelling
    assert second.respelled("kopper gadren") == "copper garden"
    assert second.respelled("7up") == "7up"
    assert second.respelled("coper") == "coper"  # a code
    counted = {word: second.count(word) for part in second.vocabularies for word in part.listed}
    assert counted == Counter(["copper", "sinks", "garden", "up"])


def test_a_generation_corrects_by_its_items(tmp_path: Path) -> None:
    workspace, db = new_catalogue(tmp_path)
    titles = ["Garage door opener", "Steel gauge", "Pressure gauge", "Kort over Århus", "लाल किताब"]
    for number, title in enumerate(titles):
        put(db, "product", id=f"p{number}", title=title)
    build(workspace, db, FakeEncoder())
    spelling = Generation.open(workspace).spelling
    for query, searched in (
        ("garge door", "garage door"),
        ("garge steel", "gauge steel"),
        ("garge", "gauge"),  # more items have it
        ("kort aarhus", "kort århus"),
        ("लाल कितब", "लाल किताब"),
    ):
        assert spelling.respelled(query) == searched


def test_a_damaged_file_is_told_of(tmp_path: Path) -> None:
    spelling_of(tmp_path, COUNTS)
    content = (tmp_path / SPELLING_FILE).read_bytes()
    for damaged in (b"", content[:-3], content.replace(b"ethernet", b"\xff" * 8)):
        (tmp_path / SPELLING_FILE).write_bytes(damaged)
        with pytest.raises(Corrupt, match="spelling"):
            open_spelling(tmp_path)
    spelling_of(tmp_path, {})
    assert open_spelling(tmp_path).respelled("anything at all") == "anything at all"


@pytest.mark.parametrize("backend", ["tantivy", "rank-bm25"])
def test_a_word_that_searchers_typed_for_items_is_not_divided(tmp_path: Path, backend: str) -> None:
    lines = [f"sport\t{tokens('sportmode')[0]}", "sport", "mode", "mode"]
    write_tokens(tmp_path, lines)
    write_spelling(tmp_path, Counter(sport=2, mode=2), keys_of([]))
    spelling = open_spelling(tmp_path, (open_tokens(tmp_path, len(lines), backend),))
    assert spelling.respelled("sportmode") == "sportmode"
    assert spelling.respelled("modesport") == "mode sport"
