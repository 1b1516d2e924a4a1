"""The language of a short text by its letters."""

from __future__ import annotations

from pathlib import Path

import pytest
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from omnisearch.data.text.language import identifier, primary, probabilities, spoken


def test_a_code_is_read_without_its_region_and_in_its_newer_form() -> None:
    codes = ("de-AT", "zh_Hant", " EN ", "nb", "no", "iw", "fil")
    assert [primary(code) for code in codes] == ["de", "zh", "en", "no", "no", "he", "tl"]


@pytest.mark.parametrize("noise", ["xl", "tv hd", "rtx4090", "sx-785z", "4711", "10 x 20 cm", "!?"])
def test_codes_numbers_and_words_of_two_letters_are_of_no_language(noise: str) -> None:
    assert spoken(noise) == ""


def test_what_is_left_of_a_text_tells_its_language() -> None:
    assert spoken("rtx4090 grafikkarte, 24 gb!") == "grafikkarte gb"
    assert spoken("чай") == "чай" and spoken("iphone15ケース")
    for text, language in (("gartenstühle aus holz", "de"), ("садовые стулья", "ru")):
        found = probabilities(text)
        assert max(found, key=found.__getitem__) == language
        assert sum(found.values()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("cache", ["new", "damaged", "cut", "not a folder"])
def test_the_unpacked_model_says_what_the_packed_one_says(
    cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    packed = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    if cache == "not a folder":
        home.write_bytes(b"")
    elif cache != "new":
        identifier.__wrapped__()
        (path,) = home.rglob("tk_nextmove.npy")
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content if cache == "damaged" else content[: len(content) // 2])
    model = identifier.__wrapped__()
    for text in ("rotes ledersofa", "диван угловой", "沙发 床", "x", "كنبة", "boho bedroom"):
        assert model.rank(text) == packed.rank(text)
    if cache != "not a folder":
        (path,) = home.rglob("tk_nextmove.npy")
        inode = path.stat().st_ino
        identifier.__wrapped__()
        assert path.stat().st_ino == inode
