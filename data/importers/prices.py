"""Prices as feeds write them: `13.99 USD`, `12,50 €`, `1.299,00`.

Whether a comma or a point is the decimal sign is decided once for a file, from all of its prices:
`1,299` alone could be read in two ways. A price that can only be read in one way is read so, also
where the others of the file have the other sign.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from omnisearch.data.importers.currencies import CODES
from omnisearch.data.importers.source import Row
from omnisearch.data.importers.value_checks import Refused, Unread

UNREAD = "is not a price such as 19.99 USD"

# Signs of more than one currency are read as the first of them, and the report says so.
_SIGNS = {
    **{"US$": "USD", "C$": "CAD", "CA$": "CAD", "A$": "AUD", "AU$": "AUD", "NZ$": "NZD"},
    **{"HK$": "HKD", "S$": "SGD", "R$": "BRL", "MX$": "MXN", "NT$": "TWD"},
    **{"€": "EUR", "£": "GBP", "₹": "INR", "RS": "INR", "₩": "KRW", "₽": "RUB", "₺": "TRY"},
    **{"₴": "UAH", "₪": "ILS", "₫": "VND", "฿": "THB", "₱": "PHP", "₦": "NGN", "₸": "KZT"},
    **{"ZŁ": "PLN", "KČ": "CZK", "FT": "HUF", "LEI": "RON", "ЛВ": "BGN", "РУБ": "RUB"},
    **{"$": "USD", "¥": "JPY"},
}
_SHARED = ("$", "¥")
_UNKNOWN_SIGNS = ("KR",)  # Danish, Icelandic, Norwegian or Swedish

_MARK = r"[^\W\d_]{0,3}[^\w\s.,'+\-]?[^\W\d_]{0,2}"  # USD, US$, €, kr
_AMOUNT = r"[+-]?(?:\d[\d.,' ]*|[.,]\d+)"
_PRICE = re.compile(
    rf"(?P<before>{_MARK})(?:(?<=[^\W\d_])\.)? ?(?P<amount>{_AMOUNT}) ?(?P<after>{_MARK})\.?"
)
_NO_CENTS = re.compile(r"([.,]) ?[-–—]+(?=\D*$)")  # 12,-
# By its decimal sign: digits, or groups of three (in India of two before the last).
_FORMS = {
    sign: re.compile(
        rf"[+-]?(?:\d+|[1-9]\d{{0,2}}([{other}' ])(?:\d{{2,3}}\1)*\d{{3}})?(?:[{sign}]\d*)?"
    )
    for sign, other in ((".", ","), (",", "."))
}
_SIMPLE = re.compile(r"(\d{1,9}(?:\.\d\d?)?)(?: ([A-Z]{3}))?", re.ASCII)
_NUMBERS = 1000
_ARABIC = str.maketrans("٫٬", ".,")


@dataclass
class Prices:
    """How the prices of a file are read, and what was met on the way.

    Attributes:
        decimal: the decimal sign, "." or ",".
        seen: how many prices were read as each kind, for `notes`.
    """

    decimal: str = "."
    decided: bool = False  # whether a price of the file tells
    seen: Counter[str] = field(default_factory=Counter)
    currencies: Counter[str] = field(default_factory=Counter)

    def read(self, value: Any, name: str) -> tuple[Any, str | None]:
        """(amount, currency or None) of a text; other values as they are.

        Raises:
            Refused: it is not a price; `name` is its column.
        """
        if type(value) is not str:
            return value, None
        simple = _SIMPLE.fullmatch(value)  # most prices, in a fifth of the time
        if simple and (simple[2] is None or simple[2] in CODES):
            amount, currency = simple.groups()
            self.seen["."] += "." in amount
            if currency:
                self.currencies[currency] += 1
            return float(amount), currency
        text = _plain(value)
        if not text or text.lower() in ("nan", "null", "none", "n/a", "-"):
            return None, None
        parts = _PRICE.fullmatch(text)
        if parts is None:
            return self._number(text, value, name), None
        currency = self._currency(parts["before"], parts["after"], value, name)
        return self._amount(parts["amount"].strip(), value, name), currency

    def _number(self, text: str, value: str, name: str) -> float:
        """A number as programs write it: 1e3."""
        try:
            found = float(text) if "_" not in text else float("nan")
        except ValueError:
            found = float("nan")
        if not abs(found) < float("inf"):
            raise Refused(name, UNREAD, value)
        return found

    def _amount(self, amount: str, value: str, name: str) -> float:
        other = "," if self.decimal == "." else "."
        for sign in (self.decimal, other):
            if _FORMS[sign].fullmatch(amount):
                break
        else:
            raise Refused(name, UNREAD, value)
        if "." in amount or "," in amount:
            self.seen["either" if _told(amount) is None else sign] += 1
        digits = "".join(c for c in amount if c.isdigit() or c in f"+-{sign}")
        return float(digits.replace(",", "."))

    def _currency(self, before: str, after: str, value: str, name: str) -> str | None:
        if before and after:
            raise Refused(name, UNREAD, value)
        mark = (before or after).upper()
        if not mark or mark in _UNKNOWN_SIGNS:
            self.seen["kr"] += mark != ""
            return None
        currency = _SIGNS.get(mark, mark)
        if currency not in CODES:
            raise Refused(name, UNREAD, value)
        self.seen[mark] += mark in _SHARED
        self.currencies[currency] += 1
        return currency

    def notes(self) -> list[str]:
        """How the prices were read, as sentences for the report; none if nothing was decided."""
        told = []
        sign, other = ("point", "comma") if self.decimal == "." else ("comma", "point")
        counts = self.seen
        if counts["."] or counts[","] or counts["either"]:
            why = "" if self.decided else ", because no price tells"
            told.append(f"Prices: the decimal sign is a {sign}{why}.")
        if counts["either"] and not self.decided:
            told.append(f"{counts['either']:,} prices could be read in two ways, such as 1,299.")
        if exceptions := counts["," if self.decimal == "." else "."]:
            told.append(f"{exceptions:,} prices have a decimal {other}, and were read by it.")
        if self.currencies:
            shown = ", ".join(f"{name} ({n:,})" for name, n in self.currencies.most_common(5))
            told.append(f"Currencies read from prices: {shown}.")
        for mark in _SHARED:
            if counts[mark]:
                read = _SIGNS[mark]
                told.append(f"{mark} was taken for {read}; --set currency=CODE says otherwise.")
        if counts["kr"]:
            told.append("kr is of several currencies; --set currency=CODE says which.")
        return told


def decide(texts: Iterable[Any]) -> Prices:
    """How the prices of a file are to be read, from all of them.

    Where the first of them are numbers, and no texts, the others are not looked at.
    """
    votes: Counter[str] = Counter()
    numbers = 0
    for value in texts:
        if type(value) in (int, float):
            numbers += 1
            if numbers == _NUMBERS and not votes:
                break
        if type(value) is not str or not value or value.isdigit():
            continue
        if _SIMPLE.fullmatch(value):
            votes["."] += "." in value
            continue
        parts = _PRICE.fullmatch(_plain(value))
        if parts is not None and (sign := _told(parts["amount"].strip())):
            votes[sign] += 1
    decimal = "," if votes[","] > votes["."] else "."
    return Prices(decimal, decided=votes.total() > 0)


def priced(
    rows: Iterable[Row], again: Iterable[Row], fixed: bool, notes: list[str]
) -> Iterator[Row]:
    """The rows with `price` as a number, and `currency` where the price names it.

    `again` are the same rows, read before for the decimal sign. `fixed` says that `currency` was
    given for all rows. How the prices were read is added to `notes`.
    """
    prices = decide(row.values.get("price") for row in again if row.values)
    for row in rows:
        if row.values and type(row.values.get("price")) is str:
            yield row._replace(values=_read(row.values, prices, fixed))
        else:
            yield row
    notes += prices.notes()


def _read(values: dict[str, Any], prices: Prices, fixed: bool) -> dict[str, Any]:
    """The values with their price read; what is none is dropped and told, as `Unread`."""
    try:
        price, currency = prices.read(values["price"], "price")
    except Refused as refused:
        return values | {"price": Unread(refused.reason, str(refused.value))}
    if currency is None or fixed:
        return values | {"price": price}
    return values | {"price": price, "currency": currency}


def _plain(value: str) -> str:
    """The text with ASCII digits, single spaces and one kind of apostrophe."""
    text = value.strip()
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_ARABIC))
        text = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)
        text = text.replace("’", "'").replace("−", "-")
    text = _NO_CENTS.sub(r"\g<1>00", text)
    return " ".join(text.split())


def _told(amount: str) -> str | None:
    """The decimal sign of an amount that can be read in one way only; None if it does not tell."""
    points, commas = amount.count("."), amount.count(",")
    if points and commas:
        last = "." if amount.rfind(".") > amount.rfind(",") else ","
        return last if _FORMS[last].fullmatch(amount) else None
    sign, other = (".", ",") if points else (",", ".")
    times = points or commas
    if times == 0:
        return None
    readable = [each for each in (sign, other) if _FORMS[each].fullmatch(amount)]
    return readable[0] if len(readable) == 1 else None
