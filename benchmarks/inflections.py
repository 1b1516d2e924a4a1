"""What stems by language, and compounds, add to BM25 on Iconclass and names of emoji: nDCG@10.

    python benchmarks/inflections.py ../shared/data/iconclass --forms SIMPLEMMA [--emoji CLDR]

SIMPLEMMA is a folder with the package simplemma, whose dictionaries know the forms of a word; CLDR
is the folder `annotations` of the npm package cldr-annotations-full. An item is all keywords of a
notation in one language, or the name of an emoji. All queries are spelled as search spells them:
`inflected` ones are an item's first keyword with one word in another form of the dictionary;
`near` ones are a keyword, and the notation's parent, children and siblings are sought; `keyword`
ones are a keyword of at least two emoji, and these are sought. One half of the queries chose what
is in `data.text.stems` and `engine.compounds`, the other is reported (--half). `mixed` is one
catalogue with each notation in one of six languages; the language of its queries is detected.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import numpy as np
from query_language import Keywords, catalogue, languages_of_notations

from omnisearch.data.importers.datasets.iconclass import keyword_files, read_keywords
from omnisearch.data.text.normalise import normalise_query, words
from omnisearch.data.text.stems import is_stemmed
from omnisearch.data.text.tokens import spelled_words
from omnisearch.engine.compounds import Compounds
from omnisearch.engine.query import Query, query_of
from omnisearch.engine.query_language import SpokenLanguages
from omnisearch.evaluation.significance import bootstrap_interval
from omnisearch.indexer.parts.spelling import Spelling
from omnisearch.indexer.parts.spelling_file import keys_of, open_spelling, write_spelling
from omnisearch.indexer.parts.token_index import TokenIndex
from omnisearch.indexer.parts.tokens import item_line, open_tokens, write_tokens

QUERIES = 2000
Asked = list[tuple[str, int, set[int]]]  # query, its item's row, the rows that are sought


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="the folder iconclass")
    parser.add_argument("--forms", type=Path, required=True, help="folder of simplemma")
    parser.add_argument("--emoji", type=Path, help="folder of CLDR's annotations")
    parser.add_argument("--half", type=int, choices=(0, 1), default=1)
    options = parser.parse_args()
    sys.path.append(str(options.forms))
    keywords = read_keywords(keyword_files(options.data))
    for language in sorted(filter(is_stemmed, keywords)):
        named = keywords[language]
        measure("Iconclass", language, named, inflected(language, named, options.half))
        measure("Iconclass, near", language, named, near(named, options.half))
    mixed(keywords, options.half)
    for folder in sorted(options.emoji.iterdir()) if options.emoji else ():
        if folder.name == folder.name[:2] and is_stemmed(folder.name):
            signs = emoji(folder)
            named = {sign: said[:1] for sign, said in signs.items()}
            measure("emoji", folder.name, named, inflected(folder.name, named, options.half))
            measure("emoji, keyword", folder.name, named, by_keyword(signs, options.half))


class EveryWord:
    """As `SpokenLanguages` of a catalogue in one language."""

    def __init__(self, language: str) -> None:
        self.codes = (language,)

    def has(self, words: list[str], code: str) -> list[bool]:
        return [True] * len(words)


def measure(name: str, language: str, named: dict[str, list[str]], asked: Asked) -> None:
    """Print nDCG@10 of words alone, and what stems and then compounds add, with 95% intervals."""
    lines, counts = [], Counter[str]()
    for key in sorted(named):
        title = ", ".join(dict.fromkeys(named[key]))
        lines.append(item_line({"title": title, "language": language}))
        counts.update(spelled_words(title))
    with TemporaryDirectory() as folder:
        write_tokens(Path(folder), lines)
        write_spelling(Path(folder), counts, keys_of([]))
        index = open_tokens(Path(folder), len(lines), "tantivy")
        spelling = open_spelling(Path(folder))
        spelled, compounds = spelling.respelled, Compounds(spelling, EveryWord(language))

        def read(text: str, known: str | None = None) -> Query:
            return query_of(text, spelled(text), frozenset(), inflected=known)

        plain = ndcg(index, asked, read)
        stems = ndcg(index, asked, lambda text: read(text, language))
        parts = ndcg(index, asked, lambda text: compounds.added(read(text, language)))
    said = f"{name} {language}: {len(asked)} queries, words {plain.mean():.4f}"
    for what, gain in (("stems", stems - plain), ("compounds", parts - stems)):
        low, high = bootstrap_interval(gain)
        said += f", {what} {gain.mean():+.4f} ({low:+.4f} to {high:+.4f})"
    print(said, flush=True)


def mixed(keywords: Keywords, half: int) -> None:
    """Print nDCG@10 by what is known of the queries' language."""
    written = languages_of_notations(keywords, 1 / 6)
    named = {key: keywords[at][key] for key, at in written.items() if keywords[at].get(key)}
    lines, counts = [], Counter[str]()
    for key in sorted(named):
        title = ", ".join(dict.fromkeys(named[key]))
        lines.append(item_line({"title": title, "language": written[key]}))
        counts.update(spelled_words(title))
    row_of = {key: row for row, key in enumerate(sorted(named))}
    asked, said = [], {}
    for language in sorted(keywords):
        own = {key: words for key, words in named.items() if written[key] == language}
        rows = [row_of[key] for key in sorted(own)]
        for text, row, _ in inflected(language, own, half)[:500]:
            asked.append((text, rows[row], {rows[row]}))
            said[text] = language
    spoken = catalogue(keywords, written)
    with TemporaryDirectory() as folder:
        write_tokens(Path(folder), lines)
        write_spelling(Path(folder), counts, keys_of([]))
        index = open_tokens(Path(folder), len(lines), "tantivy")
        spelling = open_spelling(Path(folder))
        misspelt(named, written, spelling, spoken)
        spelled, compounds = spelling.respelled, Compounds(spelling, spoken)
        ways: dict[str, Callable[[str], str | None]] = {
            "not known": lambda text: None,
            "detected": lambda text: spoken.detect(text)[1],
            "said": said.get,
        }
        for way, language_of in ways.items():

            def read(text: str, language_of: Callable[[str], str | None] = language_of) -> Query:
                known = language_of(text)
                query = query_of(text, spelled(text), frozenset(), inflected=known)
                return compounds.added(query)

            found = ndcg(index, asked, read).mean()
            print(f"mixed, {len(asked)} queries, language {way}: {found:.4f}", flush=True)


def misspelt(
    named: dict[str, list[str]],
    written: dict[str, str],
    spelling: Spelling,
    spoken: SpokenLanguages,
) -> None:
    """Print how many words with one edit are put right, by what is known of the language."""
    right, drawn, seen = defaultdict(list), random.Random(2), set[str]()
    for key in drawn.sample(sorted(named), len(named)):
        typed = words(named[key][0])
        at = drawn.randrange(len(typed)) if typed else 0
        if not typed or not typed[at].isalpha() or len(typed[at]) < 4 or typed[at] in seen:
            continue
        seen.add(typed[at])
        word, place = typed[at], drawn.randrange(len(typed[at]))
        letter, kind = drawn.choice("abcdefghijklmnopqrstuvwxyz"), drawn.randrange(3)
        added, gone = (("", 1), (letter, 1), (letter, 0))[kind]
        typed[at] = wrong = word[:place] + added + word[place + gone :]
        if not spelling._knows(wrong):
            detected = spoken.detect(" ".join(typed))[0]
            ways = {"not known": None, "detected": detected, "said": written[key]}
            for way, known in ways.items():
                own = (spoken.has, known) if known else ()
                right[way].append(spelling.replaced(wrong, "", *own) == word)
    for way, found in right.items():
        print(f"misspelt, {len(found)} words, language {way}: {np.mean(found):.3f} right")


def ndcg(index: TokenIndex, asked: Asked, read: Callable[[str], Query]) -> np.ndarray:
    scores = []
    for text, own, sought in asked:
        rows = index.search(read(text).terms, 12)[0].tolist()
        rows = [row for row in rows if row != own or own in sought]
        gains = [1 / np.log2(place + 2) for place, row in enumerate(rows[:10]) if row in sought]
        ideal = sum(1 / np.log2(place + 2) for place in range(min(10, len(sought))))
        scores.append(sum(gains) / ideal)
    return np.array(scores)


def inflected(language: str, named: dict[str, list[str]], half: int) -> Asked:
    from simplemma.strategies.dictionaries.dictionary_factory import DefaultDictionaryFactory

    lemmas, forms = {}, defaultdict(set)
    known = DefaultDictionaryFactory().get_dictionary({"no": "nb"}.get(language, language))
    for form, lemma in known.items():
        form, lemma = (x.decode() if isinstance(x, bytes) else x for x in (form, lemma))
        lemmas[form.casefold()] = lemma.casefold()
        forms[lemma.casefold()].add(form.casefold())
    asked, drawn = [], random.Random(0)
    for row, key in enumerate(sorted(named)):
        words = normalise_query(named[key][0]).split()
        for place, word in enumerate(words):
            lemma = lemmas.get(word, word)
            others = sorted(
                form
                for form in (forms[lemma] | {lemma}) - {word}
                if form.isalpha() and form[0] == word[0] and abs(len(form) - len(word)) <= 3
            )
            if others and len(word) > 3:
                words[place] = drawn.choice(others)
                asked.append((" ".join(words), row, {row}))
                break
    return some(asked, half)


def near(named: dict[str, list[str]], half: int) -> Asked:
    row_of = {notation: row for row, notation in enumerate(sorted(named))}
    below = defaultdict(set)
    for notation, row in row_of.items():
        below[notation[:-1]].add(row)
    asked = []
    for notation, row in row_of.items():
        sought = below[notation[:-1]] | below[notation] | {row_of.get(notation[:-1], row)}
        if len(sought) > 3:
            asked += [(normalise_query(text), row, sought - {row}) for text in named[notation]]
    return some(asked, half)


def by_keyword(signs: dict[str, list[str]], half: int) -> Asked:
    rows = defaultdict(set)
    for row, sign in enumerate(sorted(signs)):
        for keyword in signs[sign][1:]:
            rows[normalise_query(keyword)].add(row)
    return some([(text, -1, found) for text, found in rows.items() if len(found) > 1], half)


def some(asked: Asked, half: int) -> Asked:
    chosen = [query for query in asked if crc32(query[0].encode()) % 2 == half]
    random.Random(1).shuffle(chosen)
    return chosen[:QUERIES]


def emoji(folder: Path) -> dict[str, list[str]]:
    """Emoji → its name and keywords."""
    found = json.loads((folder / "annotations.json").read_text("utf-8"))["annotations"]
    return {
        sign: [*said["tts"], *said.get("default", ())]
        for sign, said in found["annotations"].items()
        if said.get("tts")
    }


if __name__ == "__main__":
    main()
