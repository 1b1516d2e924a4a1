"""Parts of the sample world against plain definitions: words, relevance, the click model."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from omnisearch.world.itemtext import Relatives, caption
from omnisearch.world.judges import JUDGES, grade_by
from omnisearch.world.lexicon import GROUPS, INTERESTS, LANGUAGES, load_lexicon
from omnisearch.world.pictures import draw
from omnisearch.world.relevance import ThemeTree, relevance
from omnisearch.world.sessions import EXAMINATION, session_times
from omnisearch.world.sizes import PRESETS
from omnisearch.world.wording import attribute_words, phrase, pick_word, typo

LEXICON = load_lexicon()
TREE = ThemeTree.of(LEXICON)


def at(name: str) -> np.ndarray:
    """The theme's number as the simulation passes it, an array without dimensions."""
    return np.array(theme(name))


def theme(name: str) -> int:
    return next(n for n, found in enumerate(LEXICON.themes) if found.name == name)


def wanted(**names: str) -> np.ndarray:
    row = np.full(len(GROUPS), -1)
    for group, name in names.items():
        row[GROUPS.index(group)] = next(
            n
            for n, value in enumerate(LEXICON.values)
            if value.name == name and GROUPS[value.group] == group
        )
    return row


def test_the_lexicon_covers_the_interests_with_hundreds_of_concepts() -> None:
    concepts = LEXICON.of_level("concept")
    assert len(INTERESTS) >= 12
    assert len(concepts) >= 250
    names = [LEXICON.themes[n].name for n in concepts]
    assert len(set(names)) == len(names)
    per_interest = np.bincount(TREE.interest[concepts])
    assert per_interest[per_interest > 0].min() >= 20


def test_every_concept_of_a_language_can_be_told_from_the_others_by_its_first_word() -> None:
    for language in LANGUAGES:
        first: dict[str, str] = {}
        for number in LEXICON.of_level("concept"):
            found = LEXICON.themes[number]
            word = found.words[language][0].casefold()
            assert word not in first, f"{language}: {word} is {first.get(word)} and {found.name}"
            first[word] = found.name


@pytest.mark.parametrize(
    ("language", "letters"), [("ru", ("а", "я")), ("ja", ("\u3040", "\u9fff"))]
)
def test_words_are_in_the_script_of_their_language(language: str, letters: tuple[str, str]) -> None:
    foreign = [
        word
        for words in [entry.words for entry in LEXICON.themes] + [v.words for v in LEXICON.values]
        for word in words[language]
        if not any(letters[0] <= letter <= letters[1] for letter in word.casefold())
    ]
    assert foreign == ["DIY"] or foreign == []


def test_phrases_follow_the_order_of_their_language() -> None:
    values = wanted(style="rustic", material="copper", room="bathroom")
    spoken = {
        language: phrase(
            pick_word(LEXICON.themes[theme("sink")].words, language, 0),
            attribute_words(LEXICON, values, language, 0),
            language,
        )
        for language in ("en", "fr", "de", "ja")
    }
    assert spoken["en"].split()[-1] == "sink" and "copper" in spoken["en"]
    assert spoken["fr"].startswith("lavabo cuivre")
    assert spoken["de"].startswith("Waschbecken Kupfer")
    assert spoken["ja"].endswith("洗面台")


def test_relevance_wants_all_parts_of_a_query_in_one_item() -> None:
    query = wanted(style="rustic", material="copper", room="bathroom")

    def of(concept: str, **values: str) -> float:
        return float(relevance(TREE, at("sink"), query, at(concept), wanted(**values)))

    full = of("sink", style="rustic", material="copper", room="bathroom")
    part = of("sink", style="rustic", material="copper", room="kitchen")
    other = of("bathtub", style="rustic", material="copper", room="bathroom")
    far = of("wedding-cake", style="rustic", material="copper", room="bathroom")
    assert full == 1.0
    assert part == pytest.approx(0.3)
    assert other == pytest.approx(0.2)
    assert far == 0.0


def test_a_query_for_a_family_or_an_interest_takes_any_of_it() -> None:
    nothing = wanted()
    assert relevance(TREE, at("lighting"), nothing, at("chandelier"), nothing) == 1.0
    assert relevance(TREE, at("home"), nothing, at("chandelier"), nothing) == 1.0
    assert relevance(TREE, at("food"), nothing, at("chandelier"), nothing) == 0.0


def test_relevance_broadcasts() -> None:
    query = wanted(colour="green")
    items = np.stack([wanted(colour="green"), wanted(colour="red"), wanted()])
    found = relevance(TREE, at("sofa"), query, np.full(3, theme("sofa")), items)
    assert found == pytest.approx([1.0, 0.3, 0.3])


def test_captions_are_english_say_what_is_seen_and_are_sometimes_wrong() -> None:
    import random

    relatives = Relatives.of(LEXICON)
    values = wanted(style="boho", colour="orange", material="velvet").tolist()
    rng = random.Random(1)
    written = [caption(LEXICON, relatives, theme("armchair"), values, rng) for _ in range(1000)]
    right = np.mean(["armchair" in text for text in written])
    assert 0.6 < right < 0.85
    assert not any("boho" in text for text in written)  # a style is not seen
    assert any("an orange velvet armchair" in text for text in written)
    assert not any("a orange" in text for text in written)


def test_every_concept_can_be_drawn_in_every_colour() -> None:
    colours = [wanted(colour=v.name) for v in LEXICON.values if GROUPS[v.group] == "colour"]
    for concept in LEXICON.of_level("concept").tolist():
        for number, values in enumerate([*colours, wanted()]):
            svg = draw(LEXICON, concept, values.tolist(), number)
            ElementTree.fromstring(svg)
            assert len(svg) < 1024


def test_a_judge_without_faults_gives_the_true_grade_and_the_three_err_their_own_way() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 20_000)
    near = np.zeros(len(truth), dtype=bool)
    given = {name: grade_by(judge, truth, near, rng) for name, judge in JUDGES.items()}
    errors = {name: np.mean(grades != truth) for name, grades in given.items()}
    assert errors["j1"] == pytest.approx(0.06 * 0.75, abs=0.01)  # a slip past 0 or 3 is none
    assert errors["j2"] > errors["j1"] < errors["j3"]
    foreign = grade_by(JUDGES["j3"], truth, ~near, rng)
    assert foreign.mean() < given["j3"].mean() - 0.1


def test_traffic_grows_over_the_log() -> None:
    times = session_times(50_000, np.random.default_rng(0))
    assert (np.diff(times) >= 0).all()
    early, late = np.histogram(times, bins=10)[0][[0, -1]]
    assert 2.5 < late / early < 6.0
    assert EXAMINATION > 0


def test_a_typo_keeps_the_letters() -> None:
    assert typo("pension new york", 3) != "pension new york"
    assert sorted(typo("pension new york", 3)) == sorted("pension new york")
    assert typo("sofa", 3) == "sofa"


def test_presets_have_the_promised_sizes() -> None:
    assert PRESETS["tiny"].items == 500
    assert PRESETS["demo"].items == 25_000
    assert PRESETS["demo"].sessions == 60_000
