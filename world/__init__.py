"""The sample world: a seeded generator of a small, wholly synthetic Pinterest.

`generate` writes the conventional import files of pins, products, boards, queries, an engagement
log from a simulated production search, judgments and pictures, as
docs/reference/sample-world.md says.
"""

from typing import TYPE_CHECKING

from omnisearch.world.sizes import Size

if TYPE_CHECKING:
    from omnisearch.world.generator import generate

__all__ = ["Size", "generate"]


def __getattr__(name: str) -> object:
    # Lazy, so that naming a Size does not load pyarrow.
    if name == "generate":
        from omnisearch.world.generator import generate

        return generate
    raise AttributeError(name)
