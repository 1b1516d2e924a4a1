"""The sample world: a seeded generator of a small, entirely synthetic Pinterest.

`generate` writes the standard import files of pins, products, boards, queries, an engagement log
from a simulated production search, judgments and pictures, as described in
docs/reference/sample-world.md.
"""

from typing import TYPE_CHECKING

from omnisearch.world.sizes import Size

if TYPE_CHECKING:
    from omnisearch.world.generator import generate

__all__ = ["Size", "generate"]


def __getattr__(name: str) -> object:
    # Lazy, so that importing Size does not load pyarrow.
    if name == "generate":
        from omnisearch.world.generator import generate

        return generate
    raise AttributeError(name)
