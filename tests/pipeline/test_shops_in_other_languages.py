"""A shop in Japanese, in Arabic, in German and in all of them: from files to results."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import orjson
import pytest

from omnisearch import SearchEngine, pipeline
from omnisearch.data.workspace import Workspace

# Colours and things; the mark stands where they meet in a title.
SHOPS = {
    "de": ("{0} {1} aus Holz", "rotes blaues grünes weißes schwarzes gelbes graues", (
        "Sofa Bett Regal Sideboard Kissen Fenstertuch Gemälde Windlicht Küchenregal Spülbecken")),
    "ja": ("{0}{1} 木製", "赤い 青い 緑の 白い 黒い 黄色い 灰色の", (
        "ソファ ベッド 本棚 食器棚 クッション カーテン 絵画 ランプ 机 椅子")),
    "ar": ("{1} {0} من الخشب", "أحمر أزرق أخضر أبيض أسود أصفر رمادي", (
        "كرسي سرير رف خزانة وسادة ستار لوحة مصباح مكتب حوض")),
}  # fmt: skip


def titles(language: str) -> list[tuple[str, str]]:
    """(language, title) of a shop's items."""
    if language == "mixed":
        return [item for each in SHOPS for item in titles(each)]
    form, colours, things = SHOPS[language]
    pairs = product(colours.split(), things.split())
    return [(language, form.format(colour, thing)) for colour, thing in pairs]


def files(folder: Path, items: list[tuple[str, str]]) -> list[Path]:
    """Products, and a log in which each title but every fifth is typed without its last word."""
    lines = [
        {"id": f"p{row}", "title": title, "language": language}
        for row, (language, title) in enumerate(items)
    ]
    log = [
        {
            "time": 1_700_000_000 + 3_600 * (row % 20) + day * 86_400,
            "query": title.rpartition(" ")[0],
            "query_language": language,
            "entity": "product",
            "item_id": f"p{row}",
            "action": "long_click",
        }
        for row, (language, title) in enumerate(items)
        for day in (0, 9, 17)
        if row % 5
    ]
    written = []
    for name, rows in (("products", lines), ("engagements", log)):
        written.append(folder / f"{name}.jsonl")
        written[-1].write_bytes(b"\n".join(map(orjson.dumps, rows)))
    return written


@pytest.mark.slow
@pytest.mark.parametrize("language", [*SHOPS, "mixed"])
def test_titles_typed_in_their_language_come_first(
    language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omnisearch.enrichment.text.installed", lambda name: False)
    items = titles(language)
    workspace = Workspace.create(tmp_path / "workspace")
    imported = pipeline.import_files(workspace, files(tmp_path, items))
    assert not any(each.refused for each in imported)
    for name in pipeline.default_enrichers(workspace):
        pipeline.enrich(workspace, name)
    pipeline.train(workspace, "tiny")
    pipeline.build_index(workspace)
    engine = SearchEngine.open(workspace)
    first = ten = 0
    for row, (_, title) in enumerate(items):
        assert engine.search(title, k=1).hits[0].id == f"p{row}", title
        found = [hit.id for hit in engine.search(title.rpartition(" ")[0], k=10).hits]
        first += found[0] == f"p{row}"
        ten += f"p{row}" in found
    engine.close()
    assert first >= 0.9 * len(items) and ten == len(items)
