"""All trained parts in one module: query, item and compatibility encoders, temperatures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from omnisearch.encoders.config import START_TEMPERATURE, Config
from omnisearch.encoders.models.compat import CompatEncoder
from omnisearch.encoders.models.item import ItemEncoder
from omnisearch.encoders.models.query import QueryEncoder
from omnisearch.encoders.models.rotated import RotatedLinear

_TEMPERATURES = (0.01, 1.0)


class OmniModel(nn.Module):
    """The encoders and one learned temperature for each task.

    Attributes:
        compat: name of a compatibility space → CompatEncoder (§3.4.3).
        tasks: task → row of `log_temperature`. A task is a data set's name for the learned
            encoder, or '<data set>/<space>'.
        log_temperature: (tasks,) in log space; `temperature` clamps it.
    """

    def __init__(
        self,
        config: Config,
        query: QueryEncoder,
        item: ItemEncoder,
        compat_dims: Mapping[str, int],
        tasks: list[str],
    ) -> None:
        super().__init__()
        self.query = query
        self.item = item
        self.compat = nn.ModuleDict(
            {space: CompatEncoder(dim, config.dim) for space, dim in sorted(compat_dims.items())}
        )
        self.tasks = {task: row for row, task in enumerate(tasks)}
        start = torch.full((max(len(tasks), 1),), math.log(START_TEMPERATURE))
        self.log_temperature = nn.Parameter(start)

    @property
    def last_layers(self) -> tuple[RotatedLinear, RotatedLinear]:
        """Dimension of the query and item encoders' vectors."""
        return self.query.projection, cast(RotatedLinear, self.item.mlp[-1])

    def temperature(self, task: str) -> Tensor:
        """The task's temperature, between 0.01 and 1."""
        low, high = (math.log(bound) for bound in _TEMPERATURES)
        return self.log_temperature[self.tasks[task]].clamp(low, high).exp()
