"""Wording of systems and results in reports, in the terminal and on pages."""

from __future__ import annotations

import re
import unicodedata

from omnisearch.engine.systems import SYSTEMS


def system_name(system: str) -> str:
    """The display name of a system."""
    return SYSTEMS[system].label if system in SYSTEMS else system


def system_about(system: str) -> str:
    """What a system does, in one line; empty if the system is unknown."""
    return SYSTEMS[system].about if system in SYSTEMS else ""


def plain(text: str) -> str:
    """Text on one line, without control and direction-changing characters.

    Titles are untrusted: escape sequences must not reach a terminal, and direction overrides must
    not reverse the surrounding text.
    """
    kept = (" " if unicodedata.category(char) in _ODD else char for char in text)
    return " ".join("".join(char for char in kept if char not in _TURNS).split())


def table_cell(text: str) -> str:
    """Text in a cell of a Markdown table: on one line, and nothing ends the cell or begins HTML."""
    kept = re.sub(r"([\\|])", r"\\\1", plain(text))
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", kept)  # not in <0.001


# Controls, line and paragraph separators, and lone surrogates, which cannot be encoded.
_ODD = frozenset(("Cc", "Zl", "Zp", "Cs"))
_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


def price_text(price: float | None, currency: str) -> str:
    """'USD 1,234.50', or '1,234.50' without a currency; empty without a price."""
    if price is None or price != price:
        return ""
    return f"{currency} {price:,.2f}".strip()


def p_text(p_value: float) -> str:
    """A formatted p-value: '0.013', '<0.001', or '–' if there was no test."""
    if p_value != p_value:
        return "–"
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"
