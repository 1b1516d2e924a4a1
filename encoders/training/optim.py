"""Optimisers, schedule and clipping.

The hash table and the token weights have sparse gradients and use a lazy Adam: only rows used by
the batch are updated, and only their moments decay. This makes steps over a table of 100,000 x 256
cheap on a CPU. All other parameters use AdamW or LAMB.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from omnisearch.data.workspace.errors import Corrupt
from omnisearch.encoders.config import Config
from omnisearch.encoders.models.model import OmniModel

_BETAS = (0.9, 0.999)
_ROWS_AT_ONCE = 512  # rows updated at once on a CPU, to fit in its cache


class Lamb(Optimizer):
    """LAMB (You et al., 2020): Adam's step scaled to each tensor's norm, for large batches."""

    def __init__(self, params: Iterable[Any], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "eps": 1e-6})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        count = state["step"].item()
        mean = state["exp_avg"].lerp_(parameter.grad, 1 - _BETAS[0])  # type: ignore[arg-type]
        square = state["exp_avg_sq"]
        square.mul_(_BETAS[1]).addcmul_(parameter.grad, parameter.grad, value=1 - _BETAS[1])  # type: ignore[arg-type]
        update = (mean / (1 - _BETAS[0] ** count)) / (
            (square / (1 - _BETAS[1] ** count)).sqrt() + group["eps"]
        )
        update.add_(parameter, alpha=group["weight_decay"])
        # Nothing is copied to the host, which would wait for the GPU.
        weight_norm, update_norm = parameter.norm(), update.norm()
        both = (weight_norm > 0) & (update_norm > 0)
        ratio = torch.where(both, weight_norm / update_norm, 1.0)
        parameter.sub_(update.mul_(ratio * group["lr"]))


class LazyAdam(Optimizer):
    """Adam over the rows of a sparse gradient; other rows and their moments are unchanged."""

    def __init__(self, params: Iterable[Any], lr: float) -> None:
        super().__init__(params, {"lr": lr, "eps": 1e-8})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        count = state["step"].item()
        gradient = parameter.grad.coalesce()  # type: ignore[union-attr]
        bias = math.sqrt(1 - _BETAS[1] ** count) / (1 - _BETAS[0] ** count)
        size = _ROWS_AT_ONCE if parameter.is_cpu else parameter.shape[0]
        blocks = zip(gradient.indices()[0].split(size), gradient.values().split(size), strict=True)
        for rows, values in blocks:
            mean = state["exp_avg"].index_select(0, rows).lerp_(values, 1 - _BETAS[0])
            square = state["exp_avg_sq"].index_select(0, rows).mul_(_BETAS[1])
            square.addcmul_(values, values, value=1 - _BETAS[1])
            state["exp_avg"].index_copy_(0, rows, mean)
            state["exp_avg_sq"].index_copy_(0, rows, square)
            update = mean.div_(square.sqrt_().add_(group["eps"])).mul_(-group["lr"] * bias)
            parameter.index_add_(0, rows, update)


def build_optimisers(model: OmniModel, config: Config) -> list[Optimizer]:
    """The dense optimiser, then the lazy one of the hash embedding."""
    sparse = list(model.item.hash.parameters())
    known = {id(parameter) for parameter in sparse}
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        named_backbone = name.startswith("query.backbone.") and bool(config.backbone)
        lr = config.backbone_lr if named_backbone else config.lr
        if lr == 0:
            parameter.requires_grad_(False)
        elif id(parameter) not in known:
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((lr, decay), []).append(parameter)
    dense: list[dict[str, Any]] = [
        {"params": params, "lr": lr, "weight_decay": decay}
        for (lr, decay), params in groups.items()
    ]
    first: Optimizer
    if config.optimiser == "lamb":
        first = Lamb(dense, lr=config.lr)
    else:
        first = torch.optim.AdamW(dense, lr=config.lr, betas=_BETAS)
    optimisers: list[Optimizer] = [
        first,
        LazyAdam([{"params": sparse, "lr": config.table_lr}], lr=config.table_lr),
    ]
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["peak_lr"] = group["lr"]
    return optimisers


def schedule(step: int, config: Config) -> float:
    """The factor on the peak rates at a step (from 0): linear warm-up, then cosine decay to 0."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    rest = max(config.steps - config.warmup_steps, 1)
    return 0.5 * (1 + math.cos(math.pi * min((step - config.warmup_steps) / rest, 1.0)))


def set_rates(optimisers: list[Optimizer], factor: float) -> None:
    """Set every group's rate to `factor` of its peak."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = factor * group["peak_lr"]


@torch.no_grad()
def clip_gradients(parameters: Iterable[Tensor], largest: float) -> float:
    """Scale all gradients, dense and sparse, so that their joint norm is at most `largest`.

    Returns the norm before scaling.
    """
    found = []
    for parameter in parameters:
        if parameter.grad is not None:
            if parameter.grad.is_sparse:
                parameter.grad = parameter.grad.coalesce()
                found.append(parameter.grad.values())
            else:
                found.append(parameter.grad)
    norms = torch._foreach_norm(found)
    total = torch.stack([norm.float() for norm in norms]).norm().item()
    if total > largest:
        torch._foreach_mul_(found, largest / (total + 1e-6))
    return total


def optimiser_tensors(model: OmniModel, optimisers: list[Optimizer]) -> dict[str, Tensor]:
    """The optimisers' state as '<parameter>:<quantity>' → tensor."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        f"{names[id(parameter)]}:{key}": value.contiguous()
        for optimiser in optimisers
        for parameter, state in optimiser.state.items()
        for key, value in state.items()
    }


def restore_optimisers(
    model: OmniModel, optimisers: list[Optimizer], tensors: dict[str, Tensor]
) -> None:
    """Restore the state of `optimiser_tensors`; raises Corrupt for a wrong name or shape."""
    parameters = dict(model.named_parameters())
    owner = {
        id(parameter): optimiser
        for optimiser in optimisers
        for group in optimiser.param_groups
        for parameter in group["params"]
    }
    for full_name, value in tensors.items():
        name, _, key = full_name.rpartition(":")
        parameter = parameters.get(name)
        fits = parameter is not None and (key == "step" or value.shape == parameter.shape)
        if not fits or id(parameter) not in owner:
            raise Corrupt(
                f"The training state does not fit the model ({full_name}).",
                how="Train again without --resume.",
            )
        place = value.clone() if key == "step" else value.to(parameter.device)  # type: ignore[union-attr]
        owner[id(parameter)].state[parameter][key] = place  # type: ignore[index]
