"""Numbers in a text by their value: 10 1/2, 10.50 and 10,5 are one number, 101 and 1/5 others."""

from __future__ import annotations

import re

_NUMBER = re.compile(
    r"(?<![\d./,])(?:"
    r"(?:(\d{1,3})[ -])?(\d{1,2})/(\d{1,2})(?![\d/])"  # 3/4, 10 1/2, 10-1/2
    r"|(\d{1,3}(?:,\d{3})+(?:\.\d+)?)(?![.,]?\d)"  # 1,299.99
    r"|(\d+)[.,](\d+)(?![.,]?\d)"  # 1.5, 1,5
    r"|(?<!\w)[.,](\d+)(?![.,]?\d))"  # .5
)
_MAY_HAVE = re.compile(r"[.,/]\d")


def plain_numbers(text: str) -> str:
    """The text with decimals, fractions and thousands written alike: 10.5, 0.75, 1299.

    A comma before three digits separates thousands, every other one decimals. A fraction of 1 and
    more (14/2, a kind of cable) stays as it is, as do dates and version numbers.
    """
    return _NUMBER.sub(_plain, text) if _MAY_HAVE.search(text) else text


def _plain(found: re.Match[str]) -> str:
    whole, above, below, thousands, before, after, only = found.groups()
    if below:
        if int(above) >= int(below):
            return found[0]
        before, _, after = f"{int(whole or 0) + int(above) / int(below):.4f}".partition(".")
    elif thousands:
        before, _, after = thousands.replace(",", "").partition(".")
    after = (after or only or "").rstrip("0")
    before = (before or "").lstrip("0") or "0"
    return f"{before}.{after}" if after else before
