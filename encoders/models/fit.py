"""Loading weights into a model that a stored description tells of: the two must fit."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook


@contextmanager
def built_within(tensors: Mapping[str, Tensor]) -> Iterator[None]:
    """A model that is built inside may have as many parameters as there are stored weights.

    A description that claims a billion layers or rows is refused before their memory is used.

    Raises:
        ValueError: it has more.
    """
    left = {"tensors": len(tensors), "numbers": sum(tensor.numel() for tensor in tensors.values())}
    thread = threading.get_ident()

    def count(module: nn.Module, name: str, parameter: Any) -> None:
        if threading.get_ident() != thread or parameter is None:
            return
        left["tensors"] -= 1
        left["numbers"] -= parameter.numel()
        if min(left.values()) < 0:
            raise ValueError("its description tells of a larger model than its weights")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load weights of exactly the model's names, shapes and types.

    Raises:
        ValueError: a type differs or a number is not finite.
        RuntimeError: names or shapes differ.
    """
    wanted = model.state_dict()
    for name, tensor in tensors.items():
        if name in wanted and tensor.dtype != wanted[name].dtype:
            raise ValueError(f"{name} is {tensor.dtype}, not {wanted[name].dtype}")
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} has numbers that are not finite")
    model.load_state_dict(dict(tensors))
