"""Iconclass: notations become pins in one language, keywords in the others find them."""

from __future__ import annotations

import pytest
from importing import import_named, refusals, table

from omnisearch.data.catalogue.schema import get_meta, open_catalogue
from omnisearch.data.importers.datasets.iconclass import keyword_files, read_keywords, translations
from omnisearch.data.importers.datasets.labels import split_of
from omnisearch.data.text.normalise import normalise_query

FILES = {
    "en": "1|dove\n2|circle\n2|perfection\n3|animal\n4|Ripa\n",
    "de": "1|Taube\n2|Kreis\n2|Vollkommenheit\n3|Tier\n4|Ripa\nno bar\n5|\n6|a|b\n",
    "fr": "1|colombe\n2|cercle\n2|perfection\n3|animal\n4|Ripa\n7|seul\n",
}


def folder_of(tmp_path, files):
    tmp_path.mkdir(exist_ok=True)
    for language, content in files.items():
        (tmp_path / f"kw_{language}.txt").write_text(content, "utf-8")
    return tmp_path


def test_notations_become_pins_and_other_languages_find_them(workspace, tmp_path) -> None:
    folder = folder_of(tmp_path / "iconclass", FILES)
    reports = import_named(workspace, folder, "iconclass")
    titles = {
        "iconclass:1": {"en": "dove", "de": "Taube", "fr": "colombe"},
        "iconclass:2": {
            "en": "circle, perfection",
            "de": "Kreis, Vollkommenheit",
            "fr": "cercle, perfection",
        },
        "iconclass:3": {"en": "animal", "de": "Tier", "fr": "animal"},
        "iconclass:4": {"en": "Ripa", "de": "Ripa", "fr": "Ripa"},
        "iconclass:7": {"fr": "seul"},
    }
    pins = {key: (title, language) for key, title, language in pins_of(workspace)}
    assert pins.keys() == titles.keys()
    for key, (title, language) in pins.items():
        assert titles[key][language] == title
    judgments = table(workspace, "judgments", "query, item_id, grade")
    judged = {(query, item) for query, item, _ in judgments}
    wanted = {
        (normalise_query(word), key)
        for key, by_language in titles.items()
        for language, words in by_language.items()
        for word in words.split(", ")
        if language != pins[key][1] and word not in pins[key][0].split(", ")
    }
    assert judged == wanted
    refused = [report for report in reports if report.refused]
    assert [refusals(report) for report in refused] == [
        [(line, None, "is not notation|keyword") for line in (6, 7, 8)]
    ]
    assert sum(r.changed for r in import_named(workspace, folder, "iconclass")) == 0


def pins_of(workspace):
    return table(workspace, "pins", "id, title, language")


def test_what_is_spelled_alike_has_no_language_and_only_training_words_engage(
    workspace, tmp_path
) -> None:
    many = {
        language: "".join(f"{number}|{word} {number}\n" for number in range(200))
        for language, word in (("en", "dove"), ("de", "Taube"))
    }
    many["en"] += "300|Ripa\n"
    many["de"] += "300|Ripa\n"
    import_named(workspace, folder_of(tmp_path / "iconclass", many), "iconclass")
    queries = {key: (language, split) for key, language, split in queries_of(workspace)}
    assert queries["dove 7"] == ("en", split_of("dove 7"))
    assert queries["ripa"][0] is None
    events = table(workspace, "engagements", "query, entity, item_id, action")
    saves = {query for query, entity, _, action in events if (entity, action) == ("pin", "save")}
    clicks = {(query, other) for query, entity, other, _ in events if entity == "query"}
    held_out = {key for key, (_, split) in queries.items() if split != "train"}
    assert held_out and saves and not saves & held_out
    assert clicks == {
        pair
        for number in range(200)
        for pair in ((f"dove {number}", f"taube {number}"), (f"taube {number}", f"dove {number}"))
        if not held_out & set(pair)
    }
    db = open_catalogue(workspace.catalogue)
    assert get_meta(db, "derived_from_labels") == ["iconclass"]
    db.conn.close()


def queries_of(workspace):
    return table(workspace, "queries", "id, language, split")


def test_only_single_keywords_are_translations(tmp_path) -> None:
    keywords = read_keywords(keyword_files(folder_of(tmp_path, FILES)))
    found = set(translations(keywords))
    assert ("en", "dove", "fr", "colombe") in found and ("fr", "colombe", "en", "dove") in found
    words = {word for _, word, _, _ in found}
    assert not words & {"circle", "perfection", "Ripa"}
    assert ("en", "animal", "fr", "animal") not in found


@pytest.mark.slow
def test_the_published_files_in_six_languages(workspace, shared_data) -> None:
    reports = import_named(workspace, shared_data / "iconclass", "iconclass")
    assert sum(report.refused for report in reports) == 10  # lines without a keyword
    languages = {language for _, _, language in pins_of(workspace)}
    assert languages == {"de", "en", "es", "fr", "it", "pt"}
