"""The loss against a plain row-by-row reference, and the counts behind logQ."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnisearch.encoders.training.logq import CountMinSketch, StreamCounts
from omnisearch.encoders.training.loss import (
    Sampling,
    false_negatives,
    nested_loss,
    sampled_softmax,
)

SIZES = {2: 0.05, 4: 0.05, 8: 1.0}


def unit(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(*shape, generator=generator).double(), dim=1)


def cosine(a: list[float], b: list[float]) -> float:
    norm = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / norm


def plain_loss(queries, positives, negatives, temperature, case) -> float:
    """Formulas 2 to 5 as sums over rows in Python floats."""
    total, rows = 0.0, 0
    for i, query in enumerate(queries):
        if not case["valid"][i]:
            continue
        rows += 1
        mine = {
            item
            for other, item in zip(case["query"], case["item"], strict=True)
            if other == case["query"][i]
        }
        own = math.exp(cosine(query, positives[i]) / temperature - case["log_positive"][i])
        in_batch, random = own, own
        for j, positive in enumerate(positives):
            if j != i and case["item"][j] not in mine and case["valid"][j]:
                logit = cosine(query, positive) / temperature - case["log_in_batch"][j]
                in_batch += math.exp(logit)
        for j, negative in enumerate(negatives):
            if case["random"][j] not in mine:
                logit = cosine(query, negative) / temperature - case["log_random"][j]
                random += math.exp(logit)
        total += -math.log(own / in_batch) - math.log(own / random)
    return total / max(rows, 1)


@settings(max_examples=50)
@given(st.integers(1, 6), st.integers(0, 5), st.integers(0, 10_000), st.floats(0.05, 1.0))
def test_the_loss_equals_the_plain_reference(rows, negatives, seed, temperature) -> None:
    rng = np.random.default_rng(seed)
    q, p, n = (unit(size, 8, seed=seed + at) for at, size in enumerate((rows, rows, negatives)))
    case = {
        "query": rng.integers(0, 3, rows).tolist(),
        "item": rng.integers(0, 5, rows).tolist(),
        "random": rng.integers(0, 7, negatives).tolist(),
        "log_positive": (-3 * rng.random(rows)).tolist(),
        "log_in_batch": (-9 * rng.random(rows)).tolist(),
        "log_random": (-9 * rng.random(negatives)).tolist(),
        "valid": (rng.random(rows) < 0.8).tolist(),
    }
    query, item = torch.tensor(case["query"]), torch.tensor(case["item"])
    random = torch.tensor(case["random"], dtype=torch.int64)
    valid = torch.tensor(case["valid"])
    sampling = Sampling(
        torch.tensor(case["log_positive"]),
        torch.tensor(case["log_in_batch"]),
        torch.tensor(case["log_random"]),
        false_negatives(query, item, item) | ~valid[None, :],
        false_negatives(query, item, random),
        valid,
    )
    found = nested_loss(q, p, n, torch.tensor(temperature), sampling, SIZES)
    expected = sum(
        weight
        * plain_loss(
            q[:, :size].tolist(), p[:, :size].tolist(), n[:, :size].tolist(), temperature, case
        )
        for size, weight in SIZES.items()
    )
    assert found.item() == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_masked_candidates_get_no_gradient() -> None:
    queries, positives = unit(2, 4, seed=1), unit(2, 4, seed=2)
    negatives = unit(3, 4, seed=3).requires_grad_()
    none = torch.zeros(2, 2, dtype=torch.bool)
    masked = torch.tensor([[True, False, False], [True, False, False]])
    zeros = torch.zeros(2)
    sampling = Sampling(zeros, zeros, torch.zeros(3), none, masked)
    sampled_softmax(queries, positives, negatives, torch.tensor(0.1), sampling).backward()
    moved = negatives.grad.abs().sum(1)
    assert moved[0] == 0 and (moved[1:] > 0).all()


def test_a_frequent_negative_pushes_less_than_a_rare_one() -> None:
    """What logQ is for: popular entities come up as negatives too often."""
    query, positive = unit(1, 4, seed=1), unit(1, 4, seed=2)
    other = unit(1, 4, seed=3)
    negatives = torch.cat((other, other)).requires_grad_()
    none = torch.zeros(1, 1, dtype=torch.bool)
    log_random = torch.log(torch.tensor([0.1, 0.001]))
    sampling = Sampling(
        torch.zeros(1), torch.zeros(1), log_random, none, torch.zeros(1, 2, dtype=torch.bool)
    )
    sampled_softmax(query, positive, negatives, torch.tensor(0.5), sampling).backward()
    frequent, rare = negatives.grad.norm(dim=1)
    assert rare / frequent == pytest.approx(100, rel=1e-6)


def test_false_negatives_are_the_own_positive_and_others_of_the_same_query() -> None:
    queries = torch.tensor([7, 8, 7])
    items = torch.tensor([100, 200, 300])
    assert false_negatives(queries, items, torch.tensor([100, 200, 300, 400])).tolist() == [
        [True, False, True, False],
        [False, True, False, False],
        [True, False, True, False],
    ]


keys = st.lists(st.integers(0, 40), min_size=1, max_size=200)


@given(keys, st.integers(3, 12))
def test_a_sketch_never_counts_too_low(stream, bits) -> None:
    sketch = CountMinSketch(bits)
    half = len(stream) // 2
    sketch.add(np.array(stream[:half], dtype=np.int64))
    sketch.add(np.array(stream[half:], dtype=np.int64))
    values = np.unique(stream)
    true = np.array([stream.count(value) for value in values])
    found = sketch.estimate(values)
    assert (found >= true).all()
    assert found.max() <= len(stream)


def test_a_wide_sketch_counts_exactly() -> None:
    stream = np.random.default_rng(0).zipf(1.5, 20_000) % 3_000
    sketch = CountMinSketch(20)
    sketch.add(stream)
    values, true = np.unique(stream, return_counts=True)
    assert (sketch.estimate(values) == true).mean() > 0.999


def test_probabilities_follow_the_stream_of_each_data_set() -> None:
    counts = StreamCounts(2, 12)
    counts.add(0, np.array([1, 1, 1, 2]), np.array([5, 5, 6, 5]))
    counts.add(1, np.array([1]), np.array([6]))
    given_query, alone = counts.log_probabilities(0, np.array([1, 1, 2]), np.array([5, 6, 5]))
    np.testing.assert_allclose(np.exp(given_query), [2 / 3, 1 / 3, 1], rtol=1e-6)
    np.testing.assert_allclose(np.exp(alone), [3 / 4, 1 / 4, 3 / 4], rtol=1e-6)
    again = StreamCounts(2, 12)
    again.restore(counts.state())
    again.add(1, np.array([9]), np.array([6]))
    np.testing.assert_allclose(
        np.exp(again.log_probabilities(1, np.array([9]), np.array([6]))), [[1], [1]]
    )
