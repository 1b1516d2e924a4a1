"""Item texts as written by owners, merchants and a captioning model."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from omnisearch.world.lexicon import GROUPS, LANGUAGES, Lexicon, Theme
from omnisearch.world.population import DESCRIPTION, NO_TEXT, TITLE, Population
from omnisearch.world.templates import (
    BRANDS,
    CAPTIONS,
    COUNTRIES,
    DESCRIPTIONS,
    PIN_TITLES,
    SITES,
    VAGUE_TITLES,
)
from omnisearch.world.wording import attribute_words, phrase, pick_word, title_case

# A caption names only visible attributes, each with this probability. It confuses the concept with
# another of its family or interest with these probabilities, and sometimes names the family.
CAPTION_SEES = {"colour": 0.65, "material": 0.5, "pattern": 0.6, "room": 0.5, "taste": 0.3}
CAPTION_WRONG_FAMILY, CAPTION_WRONG_INTEREST, CAPTION_GENERIC = 0.12, 0.04, 0.12
PIN_ADS, PRODUCT_ADS = 0.01, 0.08
CAMPAIGNS = 40
STRUCTURED = {"colours": "colour", "materials": "material", "patterns": "pattern"}
STRUCTURED_SHARE = 0.7  # probability that a merchant fills the field
SIZES = {
    "textile": ("50 x 50 cm", "120 x 170 cm", "140 x 200 cm", "160 x 230 cm"),
    "dress": ("XS", "S", "M", "L", "XL"),
    "shirt": ("XS", "S", "M", "L", "XL"),
    "shoe": ("36", "38", "40", "42", "44"),
    "canvas": ("21 x 30 cm", "30 x 40 cm", "50 x 70 cm"),
    "seat": ("small", "medium", "large"),
}


@dataclass(frozen=True)
class Relatives:
    """For each theme, the concepts of its family and interest that captions confuse it with."""

    family: dict[int, list[int]]
    interest: dict[int, list[int]]

    @classmethod
    def of(cls, lexicon: Lexicon) -> Relatives:
        family: dict[int, list[int]] = {}
        interest: dict[int, list[int]] = {}
        for number, theme in enumerate(lexicon.themes):
            if theme.level == "concept":
                family.setdefault(theme.family, []).append(number)
                interest.setdefault(theme.interest, []).append(number)
        return cls(family, interest)


def item_id(items: Population, row: int) -> str:
    """'p0000012' for a pin, 'x0000003' for a product."""
    return f"p{row:07d}" if row < items.pins else f"x{row - items.pins:07d}"


def picture_path(key: str) -> str:
    """The path of an item's picture in the folder: 'pictures/12/p0000012.svg'."""
    return f"pictures/{key[-2:]}/{key}.svg"


def item_records(
    lexicon: Lexicon, items: Population, low: int, high: int, seed: int
) -> Iterator[dict[str, Any]]:
    """The import rows of items low..high (all pins, or all products), without empty fields."""
    relatives = Relatives.of(lexicon)
    rng = random.Random(f"{seed}-{low}-text")
    columns = (items.concept, items.language, items.pick, items.text, items.vague, items.created)
    rows = zip(*(column[low:high].tolist() for column in columns), strict=True)
    values_of, mentions_of = items.values[low:high].tolist(), items.mentions[low:high].tolist()
    for offset, (concept, language_number, pick, text, vague, created) in enumerate(rows):
        theme = lexicon.themes[concept]
        language = LANGUAGES[language_number]
        values, mentions = values_of[offset], mentions_of[offset]
        key = item_id(items, low + offset)
        record: dict[str, Any] = {"id": key}
        if text != NO_TEXT:
            named = [v if said else -1 for v, said in zip(values, mentions, strict=True)]
            product = low >= items.pins
            if text != DESCRIPTION:
                record["title"] = _title(lexicon, theme, named, language, pick, vague, product, rng)
            if text != TITLE:
                record["description"] = _description(
                    lexicon, theme, values, language, pick, vague, rng
                )
        record["caption"] = caption(lexicon, relatives, concept, values, rng)
        site = f"{lexicon.themes[theme.interest].name}-{rng.choice(SITES)}.example"
        record["domain"] = site
        record["link"] = f"https://{site}/{key}"
        record["image"] = picture_path(key)
        record["language"] = language
        record["country"] = rng.choice(COUNTRIES[language])
        record["created_at"] = created
        if rng.random() < (PRODUCT_ADS if low >= items.pins else PIN_ADS):
            record["campaign"] = f"campaign-{rng.randrange(CAMPAIGNS):02d}"
        if low >= items.pins:
            _add_product_fields(record, lexicon, theme, values, rng)
        yield record


def _title(
    lexicon: Lexicon,
    theme: Theme,
    named: list[int],
    language: str,
    pick: int,
    vague: bool,
    product: bool,
    rng: random.Random,
) -> str:
    if vague and not product:
        return rng.choice(VAGUE_TITLES[language])
    noun = pick_word(theme.words, language, pick)
    text = phrase(noun, attribute_words(lexicon, named, language, pick), language)
    pattern = "{}" if product else rng.choice(PIN_TITLES[language])
    return title_case(pattern.format(text), language)


def _description(
    lexicon: Lexicon,
    theme: Theme,
    values: list[int],
    language: str,
    pick: int,
    vague: bool,
    rng: random.Random,
) -> str:
    """One sentence with other synonyms and up to two attributes, named in the title or not."""
    if vague:
        return rng.choice(VAGUE_TITLES[language])
    other = pick + 1
    known = [value for value in values if value >= 0]
    said = rng.sample(known, min(len(known), rng.randrange(3)))
    noun = pick_word(theme.words, language, other)
    text = phrase(noun, attribute_words(lexicon, said, language, other), language)
    sentence = rng.choice(DESCRIPTIONS[language]).format(text)
    return sentence[:1].upper() + sentence[1:]


def caption(
    lexicon: Lexicon,
    relatives: Relatives,
    concept: int,
    values: list[int],
    rng: random.Random,
) -> str:
    """An English machine caption with visible attributes only, sometimes of the wrong concept."""
    theme = lexicon.themes[concept]
    kind = rng.random()
    if kind < CAPTION_WRONG_FAMILY:
        theme = lexicon.themes[rng.choice(relatives.family[theme.family])]
    elif kind < CAPTION_WRONG_FAMILY + CAPTION_WRONG_INTEREST:
        theme = lexicon.themes[rng.choice(relatives.interest[theme.interest])]
    elif kind < CAPTION_WRONG_FAMILY + CAPTION_WRONG_INTEREST + CAPTION_GENERIC:
        theme = lexicon.themes[theme.family]
    seen = {}
    for group, chance in CAPTION_SEES.items():
        value = values[GROUPS.index(group)]
        if value >= 0 and rng.random() < chance:
            seen[GROUPS.index(group)] = lexicon.values[value].words["en"][0]
    room = seen.pop(GROUPS.index("room"), "")
    thing = _article(phrase(theme.words["en"][0], seen, "en"))
    text = rng.choice(CAPTIONS).format(thing)
    return f"{text} in {_article(room)}" if room and " in " not in text else text


def _article(text: str) -> str:
    """'a orange armchair' → 'an orange armchair', 'a black ankle boots' → 'black ankle boots'."""
    noun = text.split(" ")[-1]
    if noun.endswith("s") and not noun.endswith(("ss", "us", "is")):
        return text
    return f"an {text}" if text[0] in "aeio" else f"a {text}"


def _add_product_fields(
    record: dict[str, Any],
    lexicon: Lexicon,
    theme: Theme,
    values: list[int],
    rng: random.Random,
) -> None:
    brand = BRANDS[(theme.family * 7 + rng.randrange(5)) % len(BRANDS)]
    record["brand"] = brand
    assert theme.price is not None
    low, high = theme.price
    record["price"] = round(low * (high / low) ** rng.betavariate(2, 2.5), 2)
    record["currency"] = "USD"
    for field, group in STRUCTURED.items():
        value = values[GROUPS.index(group)]
        if value >= 0 and rng.random() < STRUCTURED_SHARE:
            record[field] = [lexicon.values[value].words["en"][0]]
    if theme.shape in SIZES:
        record["size"] = rng.choice(SIZES[theme.shape])
    family = lexicon.themes[theme.family].words["en"][0]
    record["product_types"] = [family]
    if rng.random() < STRUCTURED_SHARE:
        record["product_types"].append(theme.words["en"][0])
