"""A small drawing for each item: a shape for its kind, its colour, and an accent for its material.

Each picture is an SVG of well under 1 KB, 120 x 150.
"""

from __future__ import annotations

from typing import Final

from omnisearch.world.lexicon import GROUPS, Lexicon

# Shapes in a 120 x 150 box; {c} is the item's colour, {d} a dark line, {l} a light accent.
SHAPES: Final[dict[str, str]] = {
    "seat": '<rect x="24" y="52" width="72" height="38" rx="10" fill="{c}"/><rect x="16" y="72" '
    'width="88" height="28" rx="9" fill="{c}" stroke="{d}"/><path d="M26 100v14M94 100v14" '
    'stroke="{d}" stroke-width="5"/>',
    "lamp": '<path d="M60 18v28M60 92v26" stroke="{d}" stroke-width="3"/><path d="M40 46h40l18 '
    '40H22z" fill="{c}" stroke="{d}"/><circle cx="60" cy="92" r="9" fill="{l}"/>',
    "textile": '<rect x="22" y="40" width="76" height="76" rx="4" fill="{c}" stroke="{d}"/><path '
    'd="M22 59h76M22 78h76M22 97h76" stroke="{l}" stroke-width="5"/>',
    "basin": '<path d="M60 30v22h20" fill="none" stroke="{d}" stroke-width="6"/><path d="M20 62h80'
    'q-4 46-40 46t-40-46z" fill="{c}" stroke="{d}"/>',
    "shelf": '<rect x="28" y="26" width="64" height="96" fill="none" stroke="{d}" stroke-width="5"'
    '/><path d="M28 58h64M28 90h64" stroke="{d}" stroke-width="4"/><path d="M36 34v22M44 38v18M70 '
    '68v20M78 66v22M40 98v22" stroke="{c}" stroke-width="7"/>',
    "dress": '<path d="M46 28h28l-4 34 26 56H24l26-56z" fill="{c}" stroke="{d}"/><path d="M50 62h20'
    '" stroke="{l}" stroke-width="4"/>',
    "shirt": '<path d="M42 36l18 8 18-8 26 22-14 16-8-6v52H38V68l-8 6-14-16z" fill="{c}" '
    'stroke="{d}"/><path d="M60 46v74" stroke="{l}" stroke-width="3"/>',
    "shoe": '<path d="M20 62h30l18 22 34 8q6 16-2 18H20z" fill="{c}" stroke="{d}"/><path '
    'd="M18 112h86" stroke="{d}" stroke-width="6"/>',
    "bag": '<path d="M40 60q0-30 20-30t20 30" fill="none" stroke="{d}" stroke-width="5"/><path '
    'd="M24 58h72l8 60H16z" fill="{c}" stroke="{d}"/><circle cx="60" cy="76" r="5" fill="{l}"/>',
    "ring": '<circle cx="60" cy="86" r="32" fill="none" stroke="{d}" stroke-width="11"/><circle '
    'cx="60" cy="86" r="32" fill="none" stroke="{c}" stroke-width="9"/><path '
    'd="M46 34h28l10 12-24 22-24-22z" fill="{l}" stroke="{d}"/>',
    "plate": '<circle cx="60" cy="76" r="46" fill="#fff" stroke="{d}"/><circle cx="60" cy="76" '
    'r="30" fill="{c}"/><circle cx="50" cy="68" r="8" fill="{l}"/><circle cx="70" cy="82" r="7" '
    'fill="{l}"/>',
    "cake": '<rect x="28" y="66" width="64" height="46" rx="5" fill="{c}" stroke="{d}"/><path '
    'd="M28 78q10 12 21 0t22 0 21 0V66H28z" fill="{l}"/><path d="M60 66V46" stroke="{d}" '
    'stroke-width="4"/><circle cx="60" cy="42" r="4" fill="#e8a33d"/>',
    "cup": '<path d="M32 48h48v44q0 18-24 18T32 92z" fill="{c}" stroke="{d}"/><path d="M80 58q20 0 '
    '18 16t-20 14" fill="none" stroke="{d}" stroke-width="5"/><path d="M32 60h48" stroke="{l}" '
    'stroke-width="4"/>',
    "plant": '<path d="M38 92h44l-6 30H44z" fill="{l}" stroke="{d}"/><path d="M60 92q-30-16-24-50 '
    '26 8 24 50 0-44 26-58 8 38-26 58" fill="{c}" stroke="{d}"/>',
    "flower": '<path d="M60 80v42" stroke="#5f7f4f" stroke-width="5"/><g fill="{c}" stroke="{d}">'
    '<circle cx="60" cy="42" r="14"/><circle cx="42" cy="56" r="14"/><circle cx="78" cy="56" '
    'r="14"/><circle cx="49" cy="74" r="14"/><circle cx="71" cy="74" r="14"/></g><circle cx="60" '
    'cy="60" r="9" fill="{l}"/>',
    "mountain": '<circle cx="88" cy="40" r="12" fill="{l}"/><path d="M10 116l34-62 20 34 14-20 32 '
    '48z" fill="{c}" stroke="{d}"/><path d="M36 68l8-14 9 15-8 5z" fill="#fff"/>',
    "building": '<path d="M30 122V52l30-22 30 22v70z" fill="{c}" stroke="{d}"/><path d="M42 64h10v'
    '14H42zM68 64h10v14H68zM42 88h10v14H42zM66 90h14v32H66z" fill="{l}"/>',
    "face": '<circle cx="60" cy="76" r="34" fill="#e9c9ae" stroke="{d}"/><path d="M26 76q0-44 34-44'
    't34 44q-14-22-34-22T26 76z" fill="{c}"/><path d="M48 92q12 9 24 0" fill="none" '
    'stroke="#b3525f" stroke-width="4"/>',
    "bottle": '<rect x="50" y="26" width="20" height="20" fill="{d}"/><rect x="38" y="46" width="44'
    '" height="72" rx="9" fill="{c}" stroke="{d}"/><rect x="46" y="66" width="28" height="24" '
    'fill="{l}"/>',
    "canvas": '<rect x="22" y="32" width="76" height="92" fill="#fff" stroke="{d}" stroke-width="4"'
    '/><circle cx="48" cy="66" r="17" fill="{c}"/><path d="M26 120q20-42 36-18t32-24v42z" '
    'fill="{l}"/>',
    "tool": '<path d="M34 112l40-44" stroke="{d}" stroke-width="8"/><circle cx="80" cy="58" r="20" '
    'fill="{c}" stroke="{d}"/><circle cx="40" cy="56" r="16" fill="{l}" stroke="{d}"/>',
    "weights": '<path d="M26 76h68" stroke="{d}" stroke-width="8"/><path d="M22 52h14v48H22zM84 52h'
    '14v48H84z" fill="{c}" stroke="{d}"/>',
    "figure": '<circle cx="60" cy="36" r="13" fill="#e0bd9f"/><path d="M60 50v34l-22 34M60 '
    '84l24 32M28 62l32 0 30-16" fill="none" stroke="{c}" stroke-width="10" '
    'stroke-linecap="round"/>',
    "toy": '<rect x="22" y="80" width="36" height="36" fill="{c}" stroke="{d}"/><rect x="62" '
    'y="80" width="36" height="36" fill="{l}" stroke="{d}"/><path d="M42 80l18-36 18 36z" '
    'fill="{c}" stroke="{d}"/>',
    "screen": '<rect x="20" y="40" width="80" height="56" rx="5" fill="{d}"/><rect x="26" y="46" '
    'width="68" height="44" fill="{c}"/><path d="M42 112h36M60 96v16" stroke="{d}" '
    'stroke-width="6"/><path d="M32 54h24" stroke="{l}" stroke-width="4"/>',
    "tent": '<path d="M14 112l46-72 46 72z" fill="{c}" stroke="{d}"/><path d="M48 112l12-30 12 '
    '30z" fill="{l}"/>',
}
_COLOUR, _MATERIAL = GROUPS.index("colour"), GROUPS.index("material")


def draw(lexicon: Lexicon, concept: int, values: list[int], number: int) -> str:
    """The SVG of an item of a concept (theme number) with these values; `number` varies it."""
    theme = lexicon.themes[concept]
    hue = (concept * 47) % 360
    colour = lexicon.values[values[_COLOUR]].hex if values[_COLOUR] >= 0 else f"hsl({hue} 42% 58%)"
    accent = (values[_MATERIAL] * 53 + 40) % 360 if values[_MATERIAL] >= 0 else hue + 160
    shape = SHAPES[theme.shape].format(c=colour, d="#3a3734", l=f"hsl({accent} 48% 80%)")
    turn = number % 9 - 4
    size = 0.86 + number % 7 * 0.04
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 150"><rect width="120" '
        f'height="150" fill="hsl({(hue + number * 13) % 360} 30% 92%)"/><g transform="translate('
        f'60 76) rotate({turn}) scale({size:.2f}) translate(-60 -76)">{shape}</g></svg>'
    )
