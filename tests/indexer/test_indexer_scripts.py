"""Shops in many scripts: a part of a title, also of one without spaces, finds its item first."""

from __future__ import annotations

from pathlib import Path

import pytest

from omnisearch.data.text.tokens import query_tokens, query_words
from omnisearch.indexer.parts.tokens import item_line, open_tokens, write_tokens

# language → title of the item, a part of it, titles that the part must not find before it
SHOPS = {
    "zh": ("夏季新款红色连衣裙女装", "连衣裙", ["裙子和大衣连锁", "红色大衣"]),
    "ja": ("北欧風ダイニングテーブル木製", "テーブル", ["ブルーテール", "木製の椅子"]),
    "ko": ("남성반팔티셔츠", "반팔", ["팔찌 반지", "여성바지"]),
    "th": ("เสื้อยืดผู้ชายสีดำ", "สีดำ", ["ดาบสำลี", "กางเกงผู้หญิงสีแดง"]),
    "lo": ("ເສື້ອຢືດຜູ້ຊາຍສີດຳ", "ສີດຳ", ["ດາວສຳລີ", "ໂສ້ງສີແດງ"]),
    "km": ("អាវយឺតបុរសពណ៌ខ្មៅ", "ពណ៌ខ្មៅ", ["ខោណ៌ព", "ពណ៌ក្រហម"]),
    "my": ("အမျိုးသားတီရှပ်အနက်ရောင်", "အနက်ရောင်", ["ရောအင်က်န", "အမျိုးသမီးအနီရောင်"]),
    "ar": ("قَمِيصٌ رجاليّ أسود", "قميص اسود", ["قبعة سوداء", "حذاء رجالي"]),
    "fa": ("پیراهن مشکی مردانه", "پيراهن مشكي", ["کفش مشکی", "شلوار"]),
    "he": ("חוּלְצָה שחורה", "חולצה", ["חליפה", "מכנסיים"]),
    "hi": ("पुरुषों की टी-शर्ट काली।", "काली", ["पुरुषों की कमीज", "लाल साड़ी"]),
    "ta": ("ஆண்கள் கருப்பு சட்டை", "சட்டை", ["ஆண்கள் காலணி", "சேலை"]),
    "bo": ("གོས་དམར་པོ།", "དམར་པོ", ["གོས་ནག", "ལྷམ"]),
    "tr": ("KIRMIZI İPEK GÖMLEK", "kırmızı ipek", ["kirli gömlek", "mavi ip"]),
    "vi": ("Áo sơ mi đỏ", "áo đỏ", ["quần đen", "giày thể thao"]),
}


@pytest.mark.parametrize("backend", ["tantivy", "rank-bm25"])
@pytest.mark.parametrize("language", SHOPS)
def test_a_part_of_a_title_finds_its_item_first(language, backend, tmp_path: Path) -> None:
    title, part, others = SHOPS[language]
    titles = [*others, title, "plain white shirt"]
    write_tokens(tmp_path, [item_line({"title": text}) for text in titles])
    rows, scores = open_tokens(tmp_path, len(titles), backend).search(query_tokens(part), 10)
    assert rows[0] == len(others)
    assert len(scores) == 1 or scores[0] > scores[1]
    assert len(titles) - 1 not in rows


def test_what_holds_the_characters_apart_ranks_below_what_holds_them_together(
    tmp_path: Path,
) -> None:
    """By single characters the short titles, which hold all of the query's, would win."""
    scattered = [f"ดาสี{ending}" for ending in ("กา", "ขา", "นา", "มา")]
    titles = [*scattered, "เสื้อยืดคอกลมผู้ชายแขนสั้นผ้าฝ้ายสีดำ"]
    write_tokens(tmp_path, [item_line({"title": text}) for text in titles])
    rows, _ = open_tokens(tmp_path, len(titles), "tantivy").search(query_tokens("สีดำ"), 10)
    assert rows[0] == len(scattered)


def test_english_tokens_are_the_words_alone() -> None:
    for query, wanted in (
        ("Mid-century side tables", ["mid", "centuri", "side", "tabl"]),
        ("café tables", ["café", "tabl"]),
    ):
        assert [token for token, _ in query_words(query)] == wanted
