"""Languages and countries that a file names instead of giving their codes."""

from __future__ import annotations

from importing import jsonl, table, taken


def test_names_of_languages_and_countries_are_taken_and_told_once_a_column(workspace, tmp_path):
    path = tmp_path / "products.csv"
    path.write_text(
        "id,title,language,country\n"
        "a,Sofa,english,GERMANY\n"
        "b,Bett,de-AT,DE\n"
        "c,Mop,English,276\n"
        "d,Lampe,german,Germany\n"
        "e,Stuhl,,\n"
    )
    report = taken(workspace, path)
    after = "do not work with it. Write codes, and import the file again."
    assert report.notes == (
        "The language of 3 rows is not a code such as en or pt-BR, but for example 'english'. "
        f"It was taken as it is; filters and matching by language {after}",
        "The country of 2 rows is not a code such as US or DE, but for example 'GERMANY'. "
        f"It was taken as it is; filters and matching by country {after}",
    )
    assert table(workspace, "products", "id, language, country") == [
        ("a", "english", "GERMANY"),
        ("b", "de-at", "DE"),
        ("c", "english", "276"),
        ("d", "german", "GERMANY"),
        ("e", None, None),
    ]


def test_codes_and_no_columns_of_them_are_not_told(workspace, tmp_path):
    pins = jsonl(tmp_path / "pins.jsonl", {"id": "p", "title": "x", "language": "zh_Hant"})
    assert taken(workspace, pins).notes == ()
    queries = jsonl(tmp_path / "queries.jsonl", {"text": "sofa"}, {"text": "bed", "country": "us"})
    assert taken(workspace, queries).notes == ()
