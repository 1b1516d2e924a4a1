"""Data-parallel training of one model on one global batch, by processes started with `torchrun`.

Each process encodes its share of the batch's chunks and computes the loss of its share of the
rows, against the vectors of the whole batch. Vectors and gradients are summed over the processes,
so that every process takes exactly the same optimiser step.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from omnisearch.data.workspace.errors import InputError, OmniError

_DENSE, _SPARSE = 1, 2  # kinds of gradients
_PATIENCE = timedelta(hours=3)  # the others wait while the first process validates


@dataclass(frozen=True)
class Group:
    """The processes of a training, and this one's rank; a single process by default."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process validates, writes and reports."""
        return self.rank == 0

    def chunk_size(self, total: int, size: int) -> int:
        """A chunk size of at most `size` (0: no limit) that gives every process a share."""
        most = max(-(-total // self.size), 1)
        return min(size, most) if size else most

    def places(self, total: int, chunk: int) -> np.ndarray:
        """(k,) int64: this process' share of `total` positions; chunks are assigned round-robin."""
        everything = np.arange(total)
        return everything[everything // chunk % self.size == self.rank]

    def rows(self, total: int) -> np.ndarray:
        """(r,) int64: this process' contiguous share of `total` rows of a loss."""
        return np.array_split(np.arange(total), self.size)[self.rank]

    def sum_(self, tensor: Tensor) -> Tensor:
        """Replace a tensor by its sum over the processes."""
        return self._reduce(tensor, dist.ReduceOp.SUM)

    def _reduce(self, tensor: Tensor, operation: Any) -> Tensor:
        if self.size > 1:
            _with_all(lambda: dist.all_reduce(tensor, operation))
        return tensor

    def of_first(self, value: float, device: torch.device) -> float:
        """The first process' value of `number`."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=device)
        _with_all(lambda: dist.broadcast(shared, 0))
        return shared.item()

    def share(self, model: nn.Module) -> None:
        """Broadcast the first process' parameters and buffers."""
        if self.size > 1:
            _with_all(lambda: [dist.broadcast(part, 0) for part in model.state_dict().values()])

    def check_same(self, digest: str, device: torch.device) -> None:
        """Raise InputError in every process unless all have the same hex digest."""
        number = int(digest[:12], 16)
        ends = torch.tensor([number, -number], dtype=torch.int64, device=device)
        self._reduce(ends, dist.ReduceOp.MAX)
        if ends[0] != -ends[1]:
            raise InputError(
                "The processes of this training read different catalogues.",
                how="Give every machine the same workspace.",
            )

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace all gradients, dense and sparse, by their sums over the processes.

        Parameters without a gradient in every process stay without one.
        """
        if self.size == 1:
            return
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        kinds = torch.tensor([_kind(parameter.grad) for parameter in trained], dtype=torch.uint8)
        kinds = self._reduce(kinds.to(trained[0].device), dist.ReduceOp.MAX).cpu()
        dense = []
        for parameter, kind in zip(trained, kinds.tolist(), strict=True):
            if kind == _SPARSE:
                parameter.grad = self._sum_sparse(_sparse_gradient(parameter))
            elif kind == _DENSE:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                dense.append(parameter.grad)
        together = self.sum_(torch.cat([gradient.flatten() for gradient in dense]))
        at = 0
        for gradient in dense:
            gradient.copy_(together[at : at + gradient.numel()].view_as(gradient))
            at += gradient.numel()

    def _sum_sparse(self, gradient: Tensor) -> Tensor:
        """The sum over the processes of the rows with a gradient in any of them."""
        rows, shape = gradient.indices()[0], gradient.shape
        touched = torch.zeros(shape[0], dtype=torch.uint8, device=rows.device)
        touched[rows] = 1
        union = self._reduce(touched, dist.ReduceOp.MAX).nonzero()[:, 0]
        values = gradient.values().new_zeros(len(union), shape[1])
        values[torch.searchsorted(union, rows)] = gradient.values()
        self.sum_(values)
        return torch.sparse_coo_tensor(
            union[None], values, shape, is_coalesced=True, check_invariants=False
        )


ALONE = Group()


def _kind(gradient: Tensor | None) -> int:
    if gradient is None:
        return 0
    return _SPARSE if gradient.is_sparse else _DENSE


def _sparse_gradient(parameter: nn.Parameter) -> Tensor:
    """The parameter's coalesced gradient; one without rows if it has none."""
    if parameter.grad is not None:
        return parameter.grad.coalesce()
    nothing = torch.zeros(1, 0, dtype=torch.int64, device=parameter.device)
    values = parameter.new_zeros(0, parameter.shape[1])
    return torch.sparse_coo_tensor(
        nothing, values, parameter.shape, is_coalesced=True, check_invariants=False
    )


def _with_all(call: Callable[[], Any]) -> None:
    """A collective call; the loss of another process is reported as such."""
    try:
        call()
    except RuntimeError as error:
        raise OmniError(
            "Another process of this training has ended, so this one ends too.",
            how="Look for the first error above, then continue with --resume (--debug shows more).",
        ) from error


def reports() -> bool:
    """Whether this process is the one that prints for the user."""
    return os.environ.get("RANK", "0") == "0"


def this_device() -> torch.device:
    """The GPU of this process' local rank, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


@contextmanager
def joined() -> Iterator[Group]:
    """The group of processes started by `torchrun`; a group of one without it."""
    size = int(os.environ.get("WORLD_SIZE", 1))
    if size == 1:
        yield ALONE
        return
    device = this_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"The processes of this training could not connect ({str(error).splitlines()[0]}).",
            where="WORLD_SIZE",
            how="Start them with torchrun, or unset WORLD_SIZE to train in one process.",
        ) from error
    try:
        yield Group(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()
