"""Titles in 74 languages, as people type them: does each find its item first?

    python benchmarks/titles.py [--languages de th] [--asked 100] [--system token] [--choose]

Titles are made of three names that the package `babel` has from the Unicode CLDR (currencies,
places, languages, time zones). Four each differ in one name alone. A language is a catalogue, and
all languages together are one: files, import, a training of two steps (the query tower is not
measured), `index build`, search. Half of the titles are asked; with --choose it is the other half,
on which mechanisms are chosen. The columns, in % that find the title first:

    title  as it is                       upper  in capital letters
    typo   one wrong letter in the name   forms  decomposed (NFD); in full or half width
           that tells it from the others  keys   with the quotes, hyphens and spaces of a keyboard
    half   its first half: any title      plain  without accents; umlauts spelled out
           with all its words is right
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import category, normalize

import numpy as np
import orjson

from omnisearch import pipeline
from omnisearch.data.text.normalise import words
from omnisearch.engine.search import SearchEngine

_CODES = (
    "af am ar az be bg bn ca cs cy da de el en es et eu fa fi fil fr ga gl gu he hi hr hu hy id is "
    "it ja ka kk km kn ko ky lo lt lv mk ml mn mr ms my nb ne nl or pa pl pt ro ru si sk sl sq sr "
    "sv sw ta te th tr uk ur uz vi zh zh_Hant"
)
LANGUAGES = _CODES.split()
VIEWS = ("title", "typo", "half", "plain", "upper", "forms", "keys")
ALIKE = 4  # titles
UNSPACED = {"ja", "zh", "zh_Hant"}  # no spaces between names
DOTTED = {"az", "tr"}  # i is İ in capital letters

_MARK = re.compile("([\u0041-\u024f\u0370-\u0481\u1e00-\u1fff])([\u0300-\u036f]+)")
_LETTERS = {"й", "ї"}  # not и and і with an accent
_BARE = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "æ": "ae", "œ": "oe", "ı": "i"})
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})
_NORDIC = str.maketrans({"å": "aa", "ø": "oe", "Å": "Aa", "Ø": "Oe"})
_SPELLED_OUT = {"de": _UMLAUTS, "da": _NORDIC, "nb": _NORDIC}
_KEYS = str.maketrans("’‘ʼʻ“”„«»״׳‐‑–—\u00a0\u202f·", '\'\'\'\'""""""\'----  .') | dict.fromkeys(
    map(ord, "\u200b\u200c\u200d\u200e\u200f\u00ad")
)
_HALF_WIDTH = {normalize("NFKC", kana): kana for kana in map(chr, range(0xFF66, 0xFFA0))}


class Title(NamedTuple):
    """A title, and its name that the titles like it do not have."""

    text: str
    own: str


def titles_of(code: str, count: int, taken: set[str]) -> list[Title]:
    """At least `count` titles whose words no taken one has; each ALIKE in a row are alike."""
    from babel import Locale

    locale = Locale.parse(code)
    zones = locale.time_zones.values()
    kinds: list[Any] = [
        locale.currencies.values(),
        locale.territories.values(),
        locale.languages.values(),
        [name for zone in locale.meta_zones.values() for name in zone.get("long", {}).values()],
        [zone["city"] for zone in zones if "city" in zone],
    ]
    kinds = [sorted({name for name in kind if words(name)}) for kind in kinds]
    rng = np.random.default_rng(list(code.encode()))
    found: list[Title] = []
    while len(found) < count:
        chosen = [kinds[kind] for kind in rng.permutation(len(kinds))[:3]]
        names, place = [str(rng.choice(kind)) for kind in chosen], int(rng.integers(3))
        alike: dict[str, Title] = {}
        for name in rng.permutation(chosen[place])[: 2 * ALIKE].tolist():
            text = ("" if code in UNSPACED else " ").join(
                [*names[:place], name, *names[place + 1 :]]
            )
            alike[" ".join(sorted(words(text)))] = Title(text, name)
        new = [key for key in alike if key not in taken][:ALIKE]
        if len(new) == ALIKE:
            taken.update(new)
            found += [alike[key] for key in new]
    return found


def typed(view: str, code: str, title: Title, letters: Sequence[str], seed: int) -> set[str]:
    """What is typed for a title; nothing where this is the title."""
    text = title.text
    if view == "title":
        return {text}
    if view == "typo":
        wrong = mistyped(title.own, letters, np.random.default_rng(seed))
        return {text.replace(title.own, wrong, 1)}
    if view == "half":
        parts = text.split()
        middle = (len(text) + 1) // 2
        return {" ".join(parts[: (len(parts) + 1) // 2]) if parts[1:] else text[:middle]}
    return {
        "plain": {plain(text), plain(text.translate(_SPELLED_OUT.get(code, {})))},
        "upper": {(text.replace("i", "İ") if code in DOTTED else text).upper()},
        "forms": {normalize("NFD", text), other_width(text)},
        "keys": {text.translate(_KEYS)},
    }[view] - {text}


def mistyped(name: str, letters: Sequence[str], rng: np.random.Generator) -> str:
    """The name with one letter added, left out, changed or swapped: of a word of four and more,
    where there is one. A letter is what a key types: a vowel sign, or a part of a Korean syllable.
    """
    text = normalize("NFD", name) if re.search("[가-힣]", name) else name
    shape = "".join("a" if category(letter)[0] in "LM" else " " for letter in text)
    runs = [run.span() for run in re.finditer("a+", shape)]
    long = [run for run in runs if run[1] - run[0] >= 4] or runs or [(0, len(text))]
    start, end = long[int(rng.integers(len(long)))]
    while True:
        at, kind, letter = int(rng.integers(start, end)), int(rng.integers(4)), rng.choice(letters)
        before, after = text[:at], text[at:]
        wrong = (letter + after, after[1:], letter + after[1:], after[1::-1] + after[2:])[kind]
        result = normalize("NFC", before + wrong)
        if words(result) and words(result) != words(name):
            return result


def plain(text: str) -> str:
    def bare(found: re.Match[str]) -> str:
        whole = normalize("NFC", found[0])
        return whole if whole.lower() in _LETTERS else found[1]

    return normalize("NFC", _MARK.sub(bare, normalize("NFD", text))).translate(_BARE)


def other_width(text: str) -> str:
    """ASCII in full width, kana in half width."""
    kana = "".join(
        "".join(_HALF_WIDTH.get(part, part) for part in normalize("NFD", letter))
        if "ァ" <= letter <= "ー"
        else letter
        for letter in text
    )
    return "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in kana)


def letters_of(titles: Sequence[Title]) -> list[str]:
    """The letters of the titles, as often as they occur."""
    text = "".join(title.text.lower() for title in titles[:50])
    if re.search("[가-힣]", text):
        text = normalize("NFD", text)
    return [letter for letter in text if category(letter) in ("Ll", "Lo", "Mn", "Mc")]


def catalogue(folder: Path, titles: Sequence[tuple[str, Title]]) -> SearchEngine:
    """From files to an engine. A log of a few words allows a training."""
    folder.mkdir()
    items = [
        {"id": f"item{at}", "title": title.text, "language": code.split("_")[0]}
        for at, (code, title) in enumerate(titles)
    ]
    saves = [
        {"time": 1_700_000_000 + at, "query": words(items[at]["title"])[0], "action": "save"}
        | {"entity": "product", "item_id": f"item{at}"}
        for at in range(0, len(items), 10)
    ]
    files = folder / "products.jsonl", folder / "engagements.jsonl"
    for file, rows in zip(files, (items, saves), strict=True):
        file.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    pipeline.import_files(folder / "workspace", files)
    pipeline.train(folder / "workspace", "tiny", steps=2, warm_steps=0)
    pipeline.build_index(folder / "workspace")
    return SearchEngine.open(folder / "workspace")


def shares(
    engine: SearchEngine, titles: Sequence[tuple[str, Title]], options: argparse.Namespace
) -> dict[str, list[float]]:
    """Language → for each view, the share of what is typed that finds its title first, in %."""
    found: dict[str, list[float]] = {}
    for code in dict.fromkeys(code for code, _ in titles):
        own = [title for language, title in titles if language == code]
        letters = letters_of(own)
        half = [at for at in range(len(own)) if (at // ALIKE % 2 == 0) == options.choose]
        asked = np.random.default_rng(0).permutation(half)[: options.asked].tolist()
        found[code] = []
        for view in VIEWS:
            right = []
            for at in asked:
                for text in sorted(typed(view, code, own[at], letters, at)):
                    hits = engine.rank(text, options.system, 1)
                    first = words(titles[int(hits[0][1][4:])][1].text) if hits else []
                    whole = first == words(own[at].text)
                    right.append(whole or (view == "half" and set(words(text)) <= set(first)))
            found[code].append(100 * float(np.mean(right)) if right else float("nan"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--languages", nargs="+", default=LANGUAGES, metavar="CODE")
    parser.add_argument("--items", type=int, default=520, help="titles of a language")
    parser.add_argument("--asked", type=int, default=100, help="titles of a language")
    parser.add_argument("--system", default="token")
    parser.add_argument("--choose", action="store_true", help="ask the half to choose on")
    options = parser.parse_args()
    if not find_spec("babel"):
        sys.exit("The names are those of the package babel: `pip install babel`.")
    taken: set[str] = set()
    titles = [
        (code, title)
        for code in options.languages
        for title in titles_of(code, options.items, taken)
    ]
    alone: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for code in options.languages:
            own = [pair for pair in titles if pair[0] == code]
            engine = catalogue(Path(folder) / code, own)
            alone |= shares(engine, own, options)
            engine.close()
        engine = catalogue(Path(folder) / "all", titles)
        together = shares(engine, titles, options)
        engine.close()
    print(f"{len(alone)} languages, {len(titles):,} titles, {os.cpu_count()} cores")
    print(f"{'':10}{'a catalogue of its own':49}  all languages in one")
    print(f"{'':10}" + "  ".join("".join(f"{view:>7}" for view in VIEWS) for _ in range(2)))
    rows = {code: [*alone[code], *together[code]] for code in alone}
    rows = dict(sorted(rows.items(), key=lambda row: np.nanmean(row[1])))
    for code, row in (rows | {"mean": np.nanmean(list(rows.values()), axis=0).tolist()}).items():
        cells = ["      –" if np.isnan(share) else f"{share:7.1f}" for share in row]
        print(f"{code:10}" + "".join(cells[: len(VIEWS)]) + "  " + "".join(cells[len(VIEWS) :]))


if __name__ == "__main__":
    main()
