"""The encoders' tokenisers on scripts that have no spaces, and on marks."""

from __future__ import annotations

import pytest

from omnisearch.data.text.normalise import MAX_QUERY_CHARS
from omnisearch.encoders.models.ngrams import NgramIndex, build_vocabulary
from omnisearch.encoders.models.query import QueryTokeniser
from omnisearch.encoders.training.wordpiece import train_wordpiece

TITLES = {
    "zh": ("夏季新款红色连衣裙女装", "连衣裙"),
    "ja": ("北欧風ダイニングテーブル木製", "テーブル"),
    "th": ("เสื้อยืดผู้ชายสีดำ", "สีดำ"),
    "lo": ("ເສື້ອຢືດຜູ້ຊາຍສີດຳ", "ສີດຳ"),
    "km": ("អាវយឺតបុរសពណ៌ខ្មៅ", "ពណ៌ខ្មៅ"),
    "my": ("အမျိုးသားတီရှပ်အနက်ရောင်", "အနက်ရောင်"),
    "ar": ("قَمِيصٌ رجاليّ أسود", "قميص"),
    "hi": ("पुरुषों की टी-शर्ट काली।", "काली"),
}


@pytest.mark.parametrize("language", TITLES)
def test_a_part_of_a_title_is_made_of_the_titles_own_ngrams(language) -> None:
    title, part = TITLES[language]
    index = NgramIndex(build_vocabulary({title: 1, "plain white shirt": 1}, 1000, 1000, 1000))
    of_title, of_part = set(index.tokens(title)), index.tokens(part)
    # Unigrams and trigrams of every word, and a bigram for each two neighbours.
    assert of_part and set(of_part) <= of_title
    assert not set(of_part) & set(index.tokens("plain white shirt"))


@pytest.mark.parametrize("language", TITLES)
def test_wordpiece_spells_queries_of_every_script(language) -> None:
    title, part = TITLES[language]
    hub = train_wordpiece([title] * 3, 200)
    tokenise = QueryTokeniser(hub, 64)
    assert hub.unk_token_id not in tokenise([part])[0]


def test_a_long_query_without_spaces_is_spelled_too() -> None:
    title, _ = TITLES["th"]
    long = (title * 40)[:MAX_QUERY_CHARS]
    hub = train_wordpiece([title] * 3, 200)
    pieces = QueryTokeniser(hub, 64)([long])[0]
    assert hub.unk_token_id not in pieces
    assert len(pieces) == 64
