"""The words in which reports speak of systems and results, in the terminal and on pages."""

from __future__ import annotations

import unicodedata

from omnisearch.engine.systems import SYSTEMS


def system_name(system: str) -> str:
    """The name a reader knows a system by."""
    return SYSTEMS[system].label if system in SYSTEMS else system


def system_about(system: str) -> str:
    """What a system does, in a line; empty where it is not known."""
    return SYSTEMS[system].about if system in SYSTEMS else ""


def plain(text: str) -> str:
    """Text without control and direction-changing characters, on one line.

    Titles come from strangers: an escape sequence must not reach a terminal, and an override of
    the writing direction must not turn the text around it.
    """
    kept = (" " if unicodedata.category(char) in _ODD else char for char in text)
    return " ".join("".join(char for char in kept if char not in _TURNS).split())


# Controls, line and paragraph separators, and lone surrogates, which no encoding can write.
_ODD = frozenset(("Cc", "Zl", "Zp", "Cs"))
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


def price_text(price: float | None, currency: str) -> str:
    """'USD 1,234.50', or without a currency '1,234.50'; empty for no price."""
    if price is None or price != price:
        return ""
    return f"{currency} {price:,.2f}".strip()


def p_text(p_value: float) -> str:
    """A p-value as one reads it: '0.013', '<0.001', or '–' where there was no test."""
    if p_value != p_value:
        return "–"
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"
