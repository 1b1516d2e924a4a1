"""The frame of every page a report writes: one file, no script, nothing fetched that isn't named.

All text goes through `text`, which escapes it; the page's policy forbids scripts, forms, frames
and everything else but pictures and the page's own style.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib.resources import files
from urllib.parse import urlsplit

from omnisearch.evaluation.wording import plain

_POLICY = (
    "default-src 'none'; img-src data: https: http:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)


def text(value: object) -> str:
    """Anything as text that is safe in an element and in a quoted attribute."""
    return escape(plain(str(value)), quote=True)


def link(url: str) -> str | None:
    """An escaped http(s) address fit for `href`, or None for anything else (javascript:, data:)."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return text(url) if parts.scheme.lower() in ("http", "https") and parts.netloc else None


def notes(lines: Iterable[str]) -> str:
    """What a reader must know about the data, as a list of labels."""
    items = "".join(f"<li>{text(line)}</li>" for line in lines)
    return f'<ul class="notes" aria-label="About the data">{items}</ul>' if items else ""


def page(title: str, body: str) -> str:
    """A whole HTML document around `body`, which is trusted to be escaped."""
    style = files("omnisearch.evaluation").joinpath("report.css").read_text("utf-8")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{text(title)}</title>
<style>
{style}</style>
</head>
<body>
{body}
</body>
</html>
"""
