"""The settings of the graph networks."""

from __future__ import annotations

from dataclasses import dataclass

from omnisearch.data.workspace import Workspace
from omnisearch.data.workspace.errors import InputError
from omnisearch.data.workspace.settings import load_section


@dataclass(frozen=True)
class GraphConfig:
    """The section [graph] of the settings; trainings read it, embedding does not.

    Attributes:
        convolutions: of PinSage. With 2, the neighbours' states are convolved too.
        hard_negatives: whether PinSage learns from hard negatives, more in each epoch.
        pinsage_of_products: whether ItemSage reads PinSage vectors of products.
    """

    convolutions: int = 1
    hard_negatives: bool = True
    pinsage_of_products: bool = False

    def __post_init__(self) -> None:
        if self.convolutions not in (1, 2):
            raise InputError(f"graph convolutions must be 1 or 2, got {self.convolutions}.")

    @classmethod
    def load(cls, workspace: Workspace) -> GraphConfig:
        """What the settings of a workspace say; raises InputError if they are invalid."""
        return load_section("graph", cls(), workspace.settings)
