"""Plain text of texts that were written for web pages: entities decoded, tags removed."""

from __future__ import annotations

import html
import re
from html.entities import html5

_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_MOST_CODED = 4  # times that a text is coded: &amp;amp;amp;eacute;
_INLINE = (
    "a abbr acronym b bdi bdo big cite code del dfn em font i ins kbd mark q s samp small span "
    "strike strong sub sup tt u var wbr"
)
_BLOCKS = (
    "address article aside blockquote body br button caption center col colgroup dd details div dl "
    "dt fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 head header hr html iframe img "
    "input label legend li link main meta nav noscript object ol option p picture pre section "
    "select source summary svg table tbody td template textarea tfoot th thead title tr ul video"
)
_HIDDEN = tuple(
    (re.compile(opening, re.IGNORECASE), re.compile(closing, re.IGNORECASE))
    for opening, closing in (
        ("<!--", "-->"),
        (r"<script\b[^<>]*>", r"</script\s*>"),
        (r"<style\b[^<>]*>", r"</style\s*>"),
    )
)
_TAG = re.compile(
    rf"</?(?:({'|'.join(_INLINE.split())})|{'|'.join(_BLOCKS.split())}|script|style)"
    r"""(?:\s+(?:[\w:@-](?:[^<>"']|"[^"]*"|'[^']*')*)?)?/?>""",
    re.IGNORECASE,
)
_SPACES = re.compile(r"[^\S\n]*\n\s*|[^\S\n]{2,}")


def plain_text(text: str) -> str:
    """The text without HTML: `Caf&amp;eacute; <b>noir</b>` is `Café noir`.

    Only entities that end in a semicolon are decoded, and only HTML's own tags are removed, so that
    `R&D`, `<3` and `size <10>` stay.
    """
    plain = text
    for _ in range(_MOST_CODED):
        if "&" not in plain:
            break
        before, plain = plain, _ENTITY.sub(_decoded, plain)
        if plain == before:
            break
    if "<" in plain:
        for opening, closing in _HIDDEN:
            plain = _cut(plain, opening, closing)
        plain = _TAG.sub(lambda tag: "" if tag[1] else " ", plain)
    return text if plain == text else _SPACES.sub(_space, plain).strip()


def _decoded(entity: re.Match[str]) -> str:
    if entity[0][1] != "#" and entity[0][1:] not in html5:
        return entity[0]
    character = html.unescape(entity[0])
    return " " if character == "\xa0" else character


def _cut(text: str, opening: re.Pattern[str], closing: re.Pattern[str]) -> str:
    """The text without what begins with `opening` and ends with `closing`; in linear time."""
    kept, at = [], 0
    while (start := opening.search(text, at)) and (end := closing.search(text, start.end())):
        kept.append(text[at : start.start()])
        at = end.end()
    return " ".join([*kept, text[at:]])


def _space(run: re.Match[str]) -> str:
    return "\n" if "\n" in run[0] else " "
