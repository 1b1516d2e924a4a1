"""The model card: README.md of a checkpoint."""

from __future__ import annotations

from typing import Any

from omnisearch.data.workspace.dates import moment
from omnisearch.encoders.config import Config, config_to_json

_TASKS = {
    "pin": "pins that users saved or looked at for over 10 seconds",
    "product": "products that users saved or looked at for over 10 seconds",
    "offsite": "products that users put into a cart or bought",
    "query": "related queries that users clicked",
    "pseudo_pin": "pins, for some words of their own text",
    "pseudo_product": "products, for some words of their own text",
}


def write_card(config: Config, facts: dict[str, Any]) -> str:
    """Markdown text of the card.

    Args:
        facts: 'step', 'recalls' (task → Recall@10), 'pairs' (data set → count), 'items' (entity →
            count), 'feature_dims', 'compat_spaces', 'temperatures', 'parameters', 'device',
            'bf16', 'synthetic', 'train_until', 'rotated' (towards existing embeddings).
    """
    recalls = facts.get("recalls") or {}
    of_rotated = (
        ", of vectors times `query.projection.rotation` of these weights"
        if facts["rotated"]
        else ""
    )
    lines = [
        "# OmniSearch encoders",
        "",
        "Query, item and compatibility encoders that share one space of "
        f"{config.dim} dimensions, after OmniSearchSage (WWW '24 Companion). Vectors are unit "
        "length: dot products are cosines. Prefixes of 16, 32, 64 and 128 dimensions were trained "
        f"too and may be used after normalising them again{of_rotated}.",
        "",
    ]
    if facts.get("synthetic"):
        lines += ["**Trained on a synthetic sample world, not on real data.**", ""]
    lines += ["## What it was trained on", "", "| data set | pairs | positives |", "|---|---|---|"]
    lines += [f"| {name} | {count:,} | {_TASKS[name]} |" for name, count in facts["pairs"].items()]
    items = ", ".join(f"{count:,} {entity}s" for entity, count in facts["items"].items())
    features = ", ".join(f"{name} ({dim})" for name, dim in facts["feature_dims"].items())
    spaces = ", ".join(f"{space} ({entity}s)" for space, entity in facts["compat_spaces"].items())
    lines += [
        "",
        f"- Catalogue: {items}.",
        f"- Continuous features of items: {features or 'none'}.",
        f"- Compatible with: {spaces or 'no pre-existing embedding'}.",
        f"- Events before {moment(facts['train_until'])}.",
        "",
        "## Evaluation",
        "",
        f"Recall@10 after {facts['step']:,} steps on pairs held out from the last week of the "
        f"training period, among at most {config.valid_corpus:,} random entities of the same type. "
        "These pairs selected the checkpoint: use the evaluation window for an unbiased figure.",
        "",
        "| task | Recall@10 |",
        "|---|---|",
        *(f"| {task} | {value:.3f} |" for task, value in recalls.items()),
        "",
        "## How it was trained",
        "",
        f"- {facts['parameters']:,} parameters; device {facts['device']}"
        f"{', bfloat16' if facts['bf16'] else ''}; processes: {facts['processes']}; "
        f"seed {config.seed}.",
        "- Temperatures learned: "
        + ", ".join(f"{task} {value:.3f}" for task, value in facts["temperatures"].items())
        + ".",
        "",
        "| setting | value |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in config_to_json(config).items()),
        "",
        "## Limits",
        "",
        "It reflects the languages, words and tastes of its log, and repeats the biases of "
        "what was shown there. N-grams outside the item vocabulary are ignored. It is not meant "
        "for judging people.",
        "",
    ]
    return "\n".join(lines)
