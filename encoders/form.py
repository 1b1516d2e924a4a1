"""How a pretrained encoder reads texts: what precedes a query or an item, and how it pools.

An encoder's folder says so in the files of sentence-transformers, which most models have:
`1_Pooling/config.json` and the prompts in `config_sentence_transformers.json`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from omnisearch.data.workspace.errors import InputError
from omnisearch.encoders.hub import from_files

POOLINGS = ("mean", "cls", "last")
_POOLING_FILE = "1_Pooling/config.json"
_PROMPT_FILE = "config_sentence_transformers.json"
_MODES = {
    "mean": "pooling_mode_mean_tokens",
    "cls": "pooling_mode_cls_token",
    "last": "pooling_mode_lasttoken",
}
_ITEM_PROMPTS = ("document", "passage", "corpus")


@dataclass(frozen=True)
class Form:
    """How an encoder reads texts.

    Attributes:
        pooling: 'mean' of the unmasked tokens, or the first ('cls') or the 'last' of them.
        query, item: what precedes each query and each text of an item.
    """

    pooling: str = "mean"
    query: str = ""
    item: str = ""


# Prompts of models whose files do not tell them, from their model cards; the first that fits.
_ASKED = "Instruct: Given a web search query, retrieve relevant passages that answer the query\n"
_FAMILIES: tuple[tuple[str, Form], ...] = (
    (r"(multilingual-)?e5-.*instruct", Form("mean", f"{_ASKED}Query: ")),
    (r"(multilingual-)?e5-", Form("mean", "query: ", "passage: ")),
    (
        r"bge-(small|base|large)-en",
        Form("cls", "Represent this sentence for searching relevant passages: "),
    ),
    (r"bge-(small|base|large)-zh", Form("cls", "为这个句子生成表示以用于检索相关文章：")),
    (r"bge-m3", Form("cls")),
    (r"qwen3-embedding", Form("last", f"{_ASKED}Query:")),
)


def form_of(backbone: str, pooling: str | None = None, *, local: bool = False) -> Form:
    """The form that an encoder's files tell, or its family's; else the mean without prompts.

    Args:
        backbone: folder or hub name.
        pooling: instead of what the files tell.
        local: nothing is downloaded.

    Raises:
        InputError: the pooling is unknown, or the files cannot be read.
    """
    check_pooling(pooling)
    model = backbone.rstrip("/").rpartition("/")[2].lower()
    family = next((form for like, form in _FAMILIES if re.match(like, model)), Form())
    try:
        modes, told = (_read(backbone, file, local) for file in (_POOLING_FILE, _PROMPT_FILE))
    except OSError:  # no such encoder, as opening it will say
        modes, told = {}, {}
    found = next((mode for mode, key in _MODES.items() if modes.get(key)), family.pooling)
    form = replace(family, pooling=pooling or found)
    named = told.get("prompts")
    prompts = {name: each for name, each in named.items() if each} if type(named) is dict else {}
    if not prompts:
        return form
    item = next((prompts[each] for each in _ITEM_PROMPTS if each in prompts), "")
    return Form(form.pooling, str(prompts.get("query", "")), str(item))


def check_pooling(pooling: str | None) -> None:
    """Raise InputError if it is given and unknown."""
    if pooling is not None and pooling not in POOLINGS:
        raise InputError(f"Unknown pooling {pooling!r}.", how=f"Choose {', '.join(POOLINGS)}.")


def write_form(folder: Path, form: Form) -> None:
    """Write an encoder's form into its folder, for `form_of`."""
    (folder / _POOLING_FILE).parent.mkdir()
    modes = {key: mode == form.pooling for mode, key in _MODES.items()}
    (folder / _POOLING_FILE).write_bytes(orjson.dumps(modes))
    prompts = {"query": form.query, "document": form.item}
    (folder / _PROMPT_FILE).write_bytes(orjson.dumps({"prompts": prompts}))


def _read(name: str, file: str, local: bool) -> dict[str, Any]:
    """A JSON object beside the encoder; empty if there is none."""
    from transformers.utils import cached_file

    try:
        path = cached_file(
            name,
            file,
            local_files_only=local or from_files(name),
            _raise_exceptions_for_missing_entries=False,
        )
        found = orjson.loads(Path(path).read_bytes()) if path else {}
    except ValueError as error:
        raise InputError(
            f"The encoder's {file} is not JSON.", where=name, how="Correct it or remove it."
        ) from error
    return found if isinstance(found, dict) else {}
