"""Optimisers, schedule and clipping against their definitions."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from omnisearch.encoders.config import preset_config
from omnisearch.encoders.training.optim import Lamb, LazyAdam, clip_gradients, schedule, set_rates


def sparse(rows: list[int], values: torch.Tensor, size: int) -> torch.Tensor:
    shape = (size, values.shape[1])
    return torch.sparse_coo_tensor([rows], values, shape, check_invariants=True)


def test_lamb_follows_its_paper() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(4, 3))
    parameter = torch.nn.Parameter(torch.tensor(weights))
    optimiser = Lamb([parameter], lr=0.1, weight_decay=0.02)
    m, v = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(1, 6):
        gradient = rng.normal(size=weights.shape)
        parameter.grad = torch.tensor(gradient)
        optimiser.step()
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        update = (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-6)
        update += 0.02 * weights
        ratio = np.linalg.norm(weights) / np.linalg.norm(update)
        weights = weights - 0.1 * ratio * update
        np.testing.assert_allclose(parameter.detach().numpy(), weights, rtol=1e-6)


def test_lazy_adam_equals_the_librarys_sparse_adam() -> None:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(10, 3, generator=generator)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    optimisers = LazyAdam([ours], lr=0.01), torch.optim.SparseAdam([theirs], lr=0.01)
    for rows in ([1, 3, 3], [0, 1], [9], [3, 9, 1, 0]):
        values = torch.randn(len(rows), 3, generator=generator)
        ours.grad, theirs.grad = sparse(rows, values, 10), sparse(rows, values, 10)
        for optimiser in optimisers:
            optimiser.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
    assert torch.equal(ours[2], start[2])


def test_clipping_takes_the_norm_over_dense_and_sparse_gradients() -> None:
    dense, table = (torch.nn.Parameter(torch.zeros(4, 2)) for _ in range(2))
    dense.grad = torch.full((4, 2), 3.0)
    table.grad = sparse([1, 1], torch.ones(2, 2), 4)  # the same row twice: it holds 2, 2
    norm = clip_gradients([dense, table], 1.0)
    assert norm == pytest.approx(math.sqrt(8 * 9 + 2 * 4))
    clipped = torch.cat((dense.grad.flatten(), table.grad.to_dense().flatten())).norm()
    assert clipped.item() == pytest.approx(1.0, rel=1e-5)
    assert clip_gradients([dense, table], 5.0) == pytest.approx(1.0, rel=1e-5)
    assert dense.grad.flatten()[0].item() == pytest.approx(3 / norm, rel=1e-4)


def test_rates_rise_linearly_then_fall_along_a_cosine_to_zero() -> None:
    config = preset_config("tiny", warmup_steps=10, steps=110)
    factors = [schedule(step, config) for step in range(111)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[60] == pytest.approx(0.5)
    assert factors[110] == pytest.approx(0.0)
    assert all(a > b for a, b in pairwise(factors[10:]))
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = LazyAdam([{"params": [parameter], "lr": 0.2, "peak_lr": 0.2}], lr=0.2)
    set_rates([optimiser], 0.5)
    set_rates([optimiser], 0.5)
    assert optimiser.param_groups[0]["lr"] == pytest.approx(0.1)
