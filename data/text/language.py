"""The language of a short text, by the letters of its words (py3langid)."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from omnisearch.data.text.normalise import words
from omnisearch.data.workspace.artefacts import Kind
from omnisearch.data.workspace.user_cache import made_once

SHORTEST = 3  # letters of a-z: shorter words may be of any language, or of none

_RENAMED = {"nb": "no", "iw": "he", "in": "id", "fil": "tl", "cmn": "zh", "mo": "ro"}
_UNPACKED = Kind("unpacked language model", 1, again="It is unpacked again at the next use.")
_ARRAYS = ("nb_ptc", "nb_pc", "tk_nextmove", "tk_row", "tk_output")
_CLASSES = "classes.json"
_GLUED = re.compile(r"[a-z]*\d[a-z\d]*")  # rtx4090, 10ft


@lru_cache(maxsize=4096)
def primary(code: str) -> str:
    """The language that a code such as `de-AT` or `zh_Hant` begins with; `nb` and `no` are one."""
    language = re.split("[-_]", code.strip().lower())[0]
    return _RENAMED.get(language, language)


def spoken(text: str) -> str:
    """The words of a normalised text that may tell its language; '' for codes and numbers."""
    found = [word for word in words(_GLUED.sub(" ", text)) if not word[0].isdigit()]
    tells = any(len(word) >= SHORTEST or not word.isascii() for word in found)
    return " ".join(found) if tells else ""


def probabilities(text: str) -> dict[str, float]:
    """Language (`primary`) → its probability, for each of some 140 languages, of `spoken` text."""
    return dict(identifier().rank(text))


@lru_cache(maxsize=1)
def identifier() -> Any:
    """The model. Its package holds it in LZMA, which takes half a second and 75 MB of each process;
    from the user's cache, where the first call unpacks it, it is mapped and shared."""
    from py3langid.langid import MODEL_DIR, MODEL_FILE, LanguageIdentifier

    try:
        folder = made_once(_UNPACKED, "languages/py3langid", MODEL_DIR / MODEL_FILE, _unpack)
    except OSError:  # the cache cannot be written
        return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    classes = orjson.loads((folder / _CLASSES).read_bytes())
    return LanguageIdentifier(
        arrays["nb_ptc"],
        np.asarray(arrays["nb_pc"]),
        classes,
        memoryview(arrays["tk_nextmove"]),  # numbers of Python, like those of the package's array
        arrays["tk_output"].tolist(),
        norm_probs=True,
        tk_row=arrays["tk_row"].tolist(),
    )


def _unpack(folder: Path) -> None:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    model = LanguageIdentifier.from_model_file(MODEL_FILE)
    for name in _ARRAYS:
        np.save(folder / f"{name}.npy", np.asarray(getattr(model, name)))
    (folder / _CLASSES).write_bytes(orjson.dumps(model.nb_classes))
