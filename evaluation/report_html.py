"""A comparison of one query as one self-contained HTML page with pictures (Figure 5)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

from omnisearch.evaluation.compare import Column, Comparison, Shown
from omnisearch.evaluation.html_page import link, notes, page, text
from omnisearch.evaluation.pictures import Picture, picture
from omnisearch.evaluation.wording import price_text, system_about, system_name

Pictures = Callable[[str], Picture | None]
_GOOD, _BAD = "✓ relevant", "✗ irrelevant"


def comparison_page(
    comparison: Comparison, folders: Sequence[Path] = (), origins: Collection[str] = frozenset()
) -> str:
    """The page.

    Args:
        folders: where local pictures lie; they are embedded.
        origins: from which the page may load remote ones.
    """
    systems = [column.system for column in comparison.columns]
    find = partial(picture, folders=folders, origins=origins)
    columns = "\n".join(_column(column, systems, find) for column in comparison.columns)
    body = f"""<main>
<p class="eyebrow">OmniSearch · side by side</p>
<h1><bdi>“{text(comparison.query)}”</bdi></h1>
{notes(comparison.notes)}
{_legend(comparison)}
<div class="columns">
{columns}
</div>
{_related(comparison.related)}
</main>
<footer>Generation {comparison.generation}, first {comparison.k} results of each system.
{_overlap(comparison)}</footer>"""
    return page(f"{comparison.query} · side by side", body, origins)


def _legend(comparison: Comparison) -> str:
    entries = []
    if comparison.judged:
        entries = [
            '<li><span class="swatch good" aria-hidden="true">✓</span>judged relevant</li>',
            '<li><span class="swatch bad" aria-hidden="true">✗</span>judged irrelevant</li>',
            '<li><span class="swatch" aria-hidden="true"></span>not judged</li>',
        ]
    else:
        entries = ["<li>Nobody has judged results for this query.</li>"]
    if len(comparison.columns) > 1:
        names = ", ".join(text(system_name(column.system)) for column in comparison.columns)
        dots = '<span class="dots" aria-hidden="true"><i class="on"></i><i class="on"></i></span>'
        entries.append(
            f'<li><span class="shared">{dots}</span>shared: a dot for each of {names}</li>'
        )
    return f'<ul class="legend">{"".join(entries)}</ul>'


def _column(column: Column, systems: list[str], find: Pictures) -> str:
    name = text(system_name(column.system))
    cards = "\n".join(_card(hit, column.system, systems, find) for hit in column.hits)
    results = (
        f'<ol class="cards" tabindex="0" aria-label="Results of {name}">\n{cards}\n</ol>'
        if cards
        else '<p class="empty">No results.</p>'
    )
    return f"""<section class="column" aria-label="{name}">
<header>
<h2>{name} <small>{column.took_ms:.1f} ms</small></h2>
<p class="what">{text(system_about(column.system))}</p>
{_tally(column)}
</header>
{results}
</section>"""


def _tally(column: Column) -> str:
    if column.ndcg is None:
        return ""
    parts = (
        ("good", column.relevant, f"✓ {column.relevant} relevant"),
        ("bad", column.irrelevant, f"✗ {column.irrelevant} irrelevant"),
        ("", column.unjudged, f"{column.unjudged} not judged"),
    )
    bar = "".join(f'<i class="{kind}" style="flex:{n}"></i>' for kind, n, _ in parts if n)
    words = "".join(f'<span class="{kind}">{label}</span>' for kind, n, label in parts if n)
    return (
        f'<div class="tally"><div class="bar" aria-hidden="true">{bar}</div>'
        f"<p>{words}<span>nDCG@10 {column.ndcg:.3f}, without the unjudged "
        f"{column.condensed_ndcg:.3f}</span></p></div>"
    )


def _card(hit: Shown, system: str, systems: list[str], find: Pictures) -> str:
    kind = {True: "good", False: "bad", None: ""}[hit.relevant]
    verdict = {True: _GOOD, False: _BAD, None: ""}[hit.relevant]
    badge = f'<span class="verdict">{verdict}</span>' if verdict else ""
    title = text(hit.title) or f"Untitled {text(hit.entity)}"
    href = link(hit.link)
    heading = f'<a href="{href}" rel="noopener noreferrer nofollow">{title}</a>' if href else title
    facts = ["ad" if hit.is_ad else "", hit.entity, hit.brand, price_text(hit.price, hit.currency)]
    about = "".join(f"<span>{text(fact)}</span>" for fact in facts if fact)
    return f"""<li class="card {kind}" style="--hue:{_hue(hit)}">
<div class="frame"><span class="rank">{hit.rank}</span>{badge}{_picture(hit, title, find)}</div>
<h3 dir="auto">{heading}</h3>
<p class="about">{about}</p>
{_shared(hit, system, systems)}</li>"""


def _picture(hit: Shown, title: str, find: Pictures) -> str:
    # If a remote picture fails to load, the title is shown instead: browsers differ in whether
    # they draw a broken image (then its data-title) or nothing (then the tile under it).
    found = find(hit.image)
    tile = f'<span class="tile" dir="auto" aria-hidden="true">{title}</span>'
    if found is None:
        return tile
    if found.remote:
        return (
            f'{tile}<img src="{text(found.src)}" alt="" loading="lazy" '
            f'referrerpolicy="no-referrer" data-title="{title}">'
        )
    return f'<img src="{found.src}" alt="">'


def _shared(hit: Shown, system: str, systems: list[str]) -> str:
    if not hit.also:
        return ""
    here = {system, *hit.also}
    dots = "".join(f'<i class="{"on" if name in here else ""}"></i>' for name in systems)
    if here == set(systems) and len(systems) > 2:
        words = f"in all {len(systems)}"
    else:
        words = "also " + ", ".join(system_name(name) for name in hit.also)
    return (
        f'<span class="shared"><span class="dots" aria-hidden="true">{dots}</span>'
        f"{text(words)}</span>"
    )


def _hue(hit: Shown) -> int:
    digest = hashlib.blake2b(hit.id.encode("utf-8", "replace"), digest_size=2).digest()
    return int.from_bytes(digest, "big") % 360


def _related(queries: list[str]) -> str:
    if not queries:
        return ""
    items = "".join(f'<li dir="auto">{text(query)}</li>' for query in queries)
    heading = '<h2 class="eyebrow">Related queries</h2>'
    return f'<section class="related">{heading}<ul>{items}</ul></section>'


def _overlap(comparison: Comparison) -> str:
    pairs = [
        " and ".join(system_name(name) for name in key.split(" & ")) + f" share {shared}"
        for key, shared in comparison.overlap.items()
    ]
    return f"{text('; '.join(pairs))}." if pairs else ""
