"""Prices as shops write them, in files whose decimal sign is a comma or a point."""

from __future__ import annotations

import pytest
from babel.numbers import format_currency, format_decimal
from hypothesis import given, settings
from hypothesis import strategies as st
from importing import jsonl, refusals, table

from omnisearch.data.importers.files import ImportOptions, import_file
from omnisearch.data.importers.prices import Prices, decide
from omnisearch.data.importers.value_checks import Refused
from omnisearch.data.importers.words import NO_WORDS
from omnisearch.data.workspace.errors import InputError

LOCALES = ["en_US", "de_DE", "de_CH", "fr_FR", "es_ES", "it_IT", "pl_PL", "hi_IN", "sv_SE", "pt_BR"]
CURRENCIES = ["USD", "EUR", "GBP", "CHF", "PLN", "INR"]
cents = st.integers(0, 10**9)


@settings(max_examples=200)
@given(
    st.lists(cents, min_size=1, max_size=8), st.sampled_from(LOCALES), st.sampled_from(CURRENCIES)
)
def test_what_a_locale_writes_is_read(amounts, locale, currency):
    written = [
        (amount / 100, form)
        for amount in amounts
        for form in (
            format_decimal(amount / 100, "#,##0.00", locale=locale),
            format_decimal(amount / 100, "#,##0.00", locale=locale) + " " + currency,
            format_currency(amount / 100, currency, "¤¤ #,##0.00", locale=locale),
        )
    ]
    prices = decide(text for _, text in written)
    assert prices.decimal == ("." if locale in ("en_US", "de_CH", "hi_IN") else ",")
    for amount, text in written:
        found, named = prices.read(text, "price")
        assert found == pytest.approx(amount), text
        assert named in (None, currency)
    assert prices.currencies == {currency: 2 * len(amounts)}


@given(
    st.text(max_size=12) | st.from_regex(r"[ $€]?[+-]?[0-9.,' ]{0,9}[ €A-Z]{0,4}", fullmatch=True)
)
def test_any_text_is_a_price_or_refused(text):
    for prices in (Prices("."), Prices(",")):
        try:
            found, currency = prices.read(text, "price")
        except Refused as refused:
            assert refused.field == "price"
            continue
        assert found is None or abs(found) < float("inf")
        assert currency is None or (len(currency) == 3 and currency.isascii())


@pytest.mark.parametrize(
    ("text", "point", "comma"),
    [
        ("1,299", 1299.0, 1.299),
        ("1.299", 1.299, 1299.0),
        ("12,50", 12.5, 12.5),
        ("1'299.50", 1299.5, 1299.5),
        ("1 299", 1299.0, 1299.0),
        ("12,-", 12.0, 12.0),
        ("0,125", 0.125, 0.125),
        (".5", 0.5, 0.5),
        ("1e3", 1000.0, 1000.0),
        ("٣", 3.0, 3.0),
        (" 7 ", 7.0, 7.0),
        ("NaN", None, None),
    ],
)
def test_only_what_could_be_either_depends_on_the_file(text, point, comma):
    assert (Prices(".").read(text, "price")[0], Prices(",").read(text, "price")[0]) == (
        point,
        comma,
    )


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("$5", "USD"),
        ("5 €", "EUR"),
        ("£5", "GBP"),
        ("CA$5", "CAD"),
        ("Rs. 5", "INR"),
        ("5 kr", None),
    ],
)
def test_signs_of_currencies(text, read):
    assert Prices().read(text, "price") == (5.0, read)


@pytest.mark.parametrize(
    "text", ["free", "5 - 7", "12 EUR/kg", "--5", "5-", "1,29,99", "5 XYZW", "5 PCS", "5 pcs", "."]
)
def test_what_is_no_price(text):
    with pytest.raises(Refused, match="is not a price"):
        Prices().read(text, "price")


def test_a_currency_is_a_known_code(workspace, tmp_path):
    path = jsonl(
        tmp_path / "products.jsonl",
        {"id": "a", "title": "Sink", "currency": "eur"},
        {"id": "b", "title": "Mop", "currency": "EURO"},
        {"id": "c", "title": "Lamp", "currency": "XYZ", "price": 5},
    )
    report = import_file(workspace, path)
    reason = "is not the ISO 4217 code of a currency, such as EUR"
    assert refusals(report) == [(2, "currency", reason), (3, "currency", reason)]
    assert table(workspace, "products", "id, price, currency") == [
        ("a", None, "EUR"),
        ("b", None, None),
        ("c", 5.0, None),
    ]
    for value in ("EURO", "€"):
        with pytest.raises(InputError, match=f"currency {reason}: '{value}'"):
            import_file(workspace, path, options=ImportOptions(constants={"currency": value}))
    with pytest.raises(InputError, match=r"created_at .*'soon'"):
        import_file(workspace, path, options=ImportOptions(constants={"created_at": "soon"}))
    assert (
        import_file(workspace, path, options=ImportOptions(constants={"price": "12,50 €"})).taken
        == 3
    )


def test_the_sign_is_decided_for_the_whole_file_and_told(workspace, tmp_path):
    path = tmp_path / "products.csv"
    path.write_text('id;price\na;1.299\nb;12,50 €\nc;"1.299,00 €"\nd;gratis\ne;7.50\n')
    report = import_file(workspace, path)
    assert table(workspace, "products", "id, price, currency") == [
        ("a", 1299.0, None),
        ("b", 12.5, "EUR"),
        ("c", 1299.0, "EUR"),
        ("d", None, None),
        ("e", 7.5, None),
    ]
    assert refusals(report) == [(5, "price", "is not a price such as 19.99 USD")]
    assert report.notes == (
        "The columns are separated by a semicolon.",
        "Prices: the decimal sign is a comma.",
        "1 prices have a decimal point, and were read by it.",
        "Currencies read from prices: EUR (2).",
        NO_WORDS["products"],
    )


def test_a_file_that_does_not_tell_is_read_with_a_point_and_says_so(workspace, tmp_path):
    path = jsonl(tmp_path / "products.jsonl", {"id": "a", "price": "1,299"})
    report = import_file(workspace, path, options=ImportOptions(constants={"currency": "cad"}))
    assert table(workspace, "products", "id, price, currency") == [("a", 1299.0, "CAD")]
    assert report.notes == (
        "Prices: the decimal sign is a point, because no price tells.",
        "1 prices could be read in two ways, such as 1,299.",
        NO_WORDS["products"],
    )


def test_a_currency_for_all_rows_goes_before_that_of_a_sign(workspace, tmp_path):
    path = jsonl(tmp_path / "products.jsonl", {"id": "a", "price": "$5"})
    import_file(workspace, path, options=ImportOptions(constants={"currency": "CAD"}))
    assert table(workspace, "products", "id, price, currency") == [("a", 5.0, "CAD")]
