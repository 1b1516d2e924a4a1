"""Which links a page may show: a catalogue's links come from the files of others."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)


def safe_link(text: str) -> bool:
    """Whether a browser that follows this link stays on the web.

    True for http and https and for a link without a scheme, such as `/p/7`. False for every other
    scheme (`javascript:`, `data:`), and for control characters: browsers skip them, so that
    `java<tab>script:` is a scheme too. Spaces around the link are no part of it.
    """
    link = text.strip()
    scheme = _SCHEME.match(link)
    web = scheme is None or scheme[1].lower() in ("http", "https")
    return bool(link) and web and not _CONTROL.search(link)
