"""The configuration of a training run, and the three presets."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.reading import check_shape
from omnisearch.encoders.form import POOLINGS

NESTED_SIZES = (16, 32, 64, 128)  # prefixes of the embedding that are trained along with the whole
NESTED_WEIGHT = 0.05
START_TEMPERATURE = 0.07


@dataclass(frozen=True)
class Config:
    """All settings of a training run.

    The defaults are the `paper` preset: §3.4, §3.5 and the authors' published figures.

    Attributes:
        backbone: hub name or folder of any `AutoModel`; "" trains a small DistilBERT and its
            WordPiece vocabulary from scratch.
        pooling: 'cls' (the paper), 'mean' or 'last'; "" is as the backbone's files tell, and 'cls'
            without a backbone.
        query_prompt: what precedes each query; "" is as the backbone's files tell.
        query_layers, query_heads, query_width, wordpieces: the small DistilBERT's shape; used only
            without a backbone.
        max_query_tokens: longer queries are truncated.
        dim: dimension of the shared space.
        unigrams, bigrams, trigrams: sizes of the n-gram vocabularies.
        table_rows, table_dim: the hash embedding table.
        item_hidden: width of the item MLP's two hidden layers.
        batch_pairs: pairs per step, over all data sets.
        mix_pin, mix_product, mix_offsite, mix_query: shares of the data sets in a batch.
        mix_pseudo: share of pseudo-queries (`pseudo_queries`) in a training with a warm start, each
            for pins and products if these have a share; they train only the query encoder.
        weight_learned, weight_compat: weights of the two kinds of tasks in the loss.
        negatives_per_pair: random negatives sampled per pair, shared by the batch.
        sketch_bits: the count-min sketches of logQ have 2**sketch_bits columns.
        field_dropout: probability of hiding a text field of an item in training.
        feature_dropout: probability of hiding a continuous feature of an item in training.
        hide_engaged: probability of hiding all engaged queries of a pair's item in training; below
            0: the share of items that have none, as new items do, at most a half.
        keep_own_query: probability of keeping a pair's own query among the item's engaged queries
            in training; below 0: the share of validation pairs that had been engaged before.
        warm_steps: steps of the warm start (`warm_start`), 0 for none; needs the feature 'text',
            and no backbone other than the one that made it.
        warm_passes: after a warm start `steps` are at most as many as make so many passes over the
            pairs of the log (`warm_config`).
        optimiser: 'adamw' or 'lamb'.
        lr, backbone_lr, table_lr: peak learning rates of the new layers, of a named backbone (0
            freezes it), and of the hash table.
        warmup_steps, steps: linear warm-up, then cosine decay to 0 at `steps`.
        clip: maximum norm of the whole gradient.
        precision: 'auto' uses bf16 if the device supports it; 'fp32' or 'bf16' force it.
        chunk_items, chunk_queries: number encoded at a time; 0 is all at once.
        cached_gradients: recompute each chunk in the backward pass, to hold only one chunk in
            memory; the gradients are the same.
        valid_every, patience: steps between validations, and the number of validations without a
            better Recall@10 that ends the training.
        valid_pairs, valid_corpus: sizes of the validation sample, per entity type: of pairs, and of
            the items that they are searched among.
        save_every: steps between checkpoints besides those at validations; 0 for none.
        tensorboard: write TensorBoard logs beside the checkpoints.
    """

    preset: str = "paper"
    backbone: str = "distilbert/distilbert-base-multilingual-cased"
    pooling: str = "cls"
    query_prompt: str = ""
    query_layers: int = 6
    query_heads: int = 12
    query_width: int = 768
    wordpieces: int = 30_000
    query_dropout: float = 0.1
    max_query_tokens: int = 64
    dim: int = 256
    unigrams: int = 200_000
    bigrams: int = 1_000_000
    trigrams: int = 64_000
    table_rows: int = 100_000
    table_dim: int = 256
    item_hidden: int = 1024
    batch_pairs: int = 10_240
    mix_pin: float = 8.0
    mix_product: float = 4.0
    mix_offsite: float = 2.0
    mix_query: float = 2.0
    mix_pseudo: float = 4.0
    weight_learned: float = 1.0
    weight_compat: float = 1.0
    negatives_per_pair: float = 4.0
    sketch_bits: int = 26
    field_dropout: float = 0.0
    feature_dropout: float = 0.0
    hide_engaged: float = -1.0
    keep_own_query: float = -1.0
    warm_steps: int = 1_000
    warm_passes: float = 2.0
    optimiser: str = "lamb"
    lr: float = 10**-2.7
    backbone_lr: float = 10**-2.7
    table_lr: float = 10**-2.7
    weight_decay: float = 0.01
    warmup_steps: int = 750
    steps: int = 150_000
    clip: float = 1.0
    precision: str = "auto"
    chunk_items: int = 0
    chunk_queries: int = 0
    cached_gradients: bool = False
    valid_every: int = 2_000
    patience: int = 10
    valid_pairs: int = 10_000
    valid_corpus: int = 100_000
    save_every: int = 0
    tensorboard: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        choices = {
            "pooling": ("", *POOLINGS),
            "optimiser": ("adamw", "lamb"),
            "precision": ("auto", "fp32", "bf16"),
        }
        for field, allowed in choices.items():
            if getattr(self, field) not in allowed:
                raise InputError(
                    f"{getattr(self, field)!r} is not a valid {field}.",
                    where=f"train.{field}",
                    how=f"Choose one of {', '.join(filter(None, allowed))}.",
                )
        positive = (
            *("dim", "batch_pairs", "steps", "table_rows", "table_dim", "valid_every", "clip"),
            *("max_query_tokens", "item_hidden"),
        )
        for field in positive:
            if getattr(self, field) <= 0:
                raise InputError(f"{field} must be above 0.", where=f"train.{field}")

    @property
    def mix(self) -> dict[str, float]:
        """Data set → its share of a batch."""
        return {
            "pin": self.mix_pin,
            "product": self.mix_product,
            "offsite": self.mix_offsite,
            "query": self.mix_query,
            "pseudo_pin": self.mix_pseudo if self.mix_pin else 0.0,
            "pseudo_product": self.mix_pseudo if self.mix_product else 0.0,
        }

    @property
    def sizes(self) -> dict[int, float]:
        """Prefix size → its weight in the loss; the full size has weight 1."""
        nested = {size: NESTED_WEIGHT for size in NESTED_SIZES if size < self.dim}
        return nested | {self.dim: 1.0}


_PRESETS = {
    "paper": Config(),
    "demo": Config(
        preset="demo",
        backbone="",
        pooling="",
        query_layers=2,
        query_heads=4,
        query_width=128,
        wordpieces=8_000,
        max_query_tokens=32,
        unigrams=50_000,
        bigrams=100_000,
        trigrams=32_000,
        item_hidden=512,
        batch_pairs=512,
        negatives_per_pair=2.0,
        sketch_bits=20,
        field_dropout=0.1,
        feature_dropout=0.1,
        warm_steps=300,
        optimiser="adamw",
        lr=2e-3,
        backbone_lr=5e-5,
        table_lr=2e-3,
        warmup_steps=40,
        steps=600,
        chunk_queries=64,
        valid_every=150,
        patience=4,
        valid_pairs=1_000,
        valid_corpus=100_000,
    ),
    "tiny": Config(
        preset="tiny",
        backbone="",
        pooling="",
        query_layers=1,
        query_heads=2,
        query_width=32,
        wordpieces=1_000,
        max_query_tokens=16,
        unigrams=2_000,
        bigrams=4_000,
        trigrams=2_000,
        table_rows=1_000,
        table_dim=32,
        item_hidden=64,
        batch_pairs=64,
        negatives_per_pair=1.0,
        sketch_bits=12,
        warm_steps=20,
        optimiser="adamw",
        lr=5e-3,
        backbone_lr=5e-3,
        table_lr=1e-2,
        warmup_steps=5,
        steps=40,
        precision="fp32",
        valid_every=20,
        patience=4,
        valid_pairs=100,
        valid_corpus=500,
    ),
}


def preset_config(name: str, **changes: Any) -> Config:
    """The preset 'tiny', 'demo' or 'paper' with some fields replaced.

    Raises:
        InputError: the preset is unknown, or a value is out of range.
    """
    if name not in _PRESETS:
        raise InputError(
            f"There is no preset {name!r}.",
            where="--preset",
            how=f"Choose one of {', '.join(_PRESETS)}.",
        )
    return replace(_PRESETS[name], **changes)


def searchsage_config(config: Config) -> Config:
    """The baseline of §4.3.1 at the same budget: SearchSage.

    Only a query tower, trained against fixed vectors of pins and products (PinSage and ItemSage);
    no item encoder and no query pairs. It is only for comparison: it has no learned space to
    serve.
    """
    return replace(config, weight_learned=0.0, mix_query=0.0, mix_pseudo=0.0)


def config_to_json(config: Config) -> dict[str, Any]:
    return asdict(config)


def config_from_json(values: dict[str, Any]) -> Config:
    """Read a config written by `config_to_json`.

    Raises:
        InputError: a field is unknown. ValueError: it is of another type.
    """
    usual = vars(Config())
    unknown = values.keys() - usual.keys()
    if unknown:
        raise InputError(
            f"The checkpoint's config has unknown fields: {', '.join(sorted(unknown))}.",
            how="It was written by another version; train again.",
        )
    check_shape(values, {name: type(usual[name]) for name in values})
    return Config(**values)
