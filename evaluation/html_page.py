"""The frame of all report pages: one file without scripts.

All text is escaped by `text`; the page's content security policy allows only the page's own style
and pictures, those of other sites only from the origins that the settings allow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from html import escape
from importlib.resources import files
from urllib.parse import urlsplit

from omnisearch.data.text.links import safe_link
from omnisearch.evaluation.wording import plain


def text(value: object) -> str:
    """Any value as text, escaped for use in elements and quoted attributes."""
    return escape(plain(str(value)), quote=True)


def link(url: str | None) -> str | None:
    """An http(s) URL escaped for `href`; None for anything else (javascript:, a path)."""
    if not url or not safe_link(url):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return text(url) if parts.scheme.lower() in ("http", "https") and parts.netloc else None


def notes(lines: Iterable[str]) -> str:
    """Caveats about the data, as a list of labels."""
    items = "".join(f"<li>{text(line)}</li>" for line in lines)
    return f'<ul class="notes" aria-label="About the data">{items}</ul>' if items else ""


def page(title: str, body: str, origins: Collection[str] = ()) -> str:
    """A complete HTML document around `body`, which must already be escaped.

    Args:
        origins: from which the page may load pictures.
    """
    policy = (
        f"default-src 'none'; img-src {' '.join(['data:', *sorted(origins)])}; "
        "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    )
    style = files("omnisearch.evaluation").joinpath("report.css").read_text("utf-8")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{text(policy)}">
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
