"""Queries that are about a person and must not be shown to others."""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"\S\s*@\s*\S")
_MANY_DIGITS = re.compile(r"\d(?:[\s()+./\-\u2010-\u2015]*\d){6,}")  # phones, cards, accounts


def looks_private(query: str) -> bool:
    """Whether a query has an e-mail address, or a number as long as a phone's or a card's."""
    return bool(_ADDRESS.search(query) or _MANY_DIGITS.search(query))
