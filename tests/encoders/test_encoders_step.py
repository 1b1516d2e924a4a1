"""Batches and one step: what a batch holds, and that cached gradients equal plain ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from one_step import gradients, stream_of

from omnisearch.encoders.models.hash_embedding import sum_bags
from omnisearch.encoders.models.query import takes_bf16
from omnisearch.encoders.training.batches import composition, pinned
from omnisearch.encoders.training.chunks import Hiding, visible_strings
from omnisearch.encoders.training.dataset import ENGAGED
from omnisearch.encoders.training.logq import StreamCounts
from omnisearch.encoders.training.prepare import prepare
from omnisearch.encoders.training.step import Stepper, chunk_seed, count_and_correct


@pytest.fixture(scope="module")
def prepared(small, config):
    return prepare(small.workspace, small.db, config, None)


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, gradient in first.items():
        torch.testing.assert_close(gradient, second[name], rtol=1e-4, atol=1e-4, msg=name)


def test_cached_gradients_equal_plain_ones_with_dropout_on(prepared, config) -> None:
    chunked = replace(config, chunk_items=17, chunk_queries=13)
    plain = gradients(prepared, chunked)
    cached = gradients(prepared, replace(chunked, cached_gradients=True))
    assert_same(plain, cached)
    assert {"item.hash.table", "item.hash.weights", "log_temperature"} <= plain.keys()
    assert "compat.pinsage.projection.weight" in plain and "loss of pin/pinsage" in plain
    assert len(chunked.sizes) > 1
    # Dropout was on: another chunking draws other units, and the query side's gradients move.
    other = gradients(prepared, replace(config, chunk_items=17, chunk_queries=0))
    name = "query.projection.weight"
    assert (plain[name] - other[name]).abs().max() > 1e-3


def test_chunking_alone_changes_nothing_where_nothing_is_dropped(small, config) -> None:
    config = replace(config, query_dropout=0.0)
    prepared = prepare(small.workspace, small.db, config, None)
    whole = gradients(prepared, config)
    for chunk in (5, 40):
        parts = replace(config, chunk_items=chunk, chunk_queries=chunk)
        assert_same(whole, gradients(prepared, parts))
        assert_same(whole, gradients(prepared, replace(parts, cached_gradients=True)))


def test_a_rotation_of_both_towers_teaches_the_learned_tasks_the_same(small, config) -> None:
    config = replace(config, query_dropout=0.0, weight_compat=0.0)
    prepared = prepare(small.workspace, small.db, config, None)
    plain = gradients(prepared, config)
    rotation = torch.linalg.qr(torch.randn(config.dim, config.dim))[0]
    for layer in prepared.parts.model.last_layers:
        layer.rotation = rotation.clone()
    assert_same(plain, gradients(prepared, config))


def test_a_batch_is_a_function_of_seed_and_step(prepared, config) -> None:
    first, second = stream_of(prepared, config), stream_of(prepared, config)
    for step in (0, 1):
        first.batch(step)
    a, b = first.batch(7), second.batch(7)
    assert [part.query_rows.tolist() for part in a.parts] == [
        part.query_rows.tolist() for part in b.parts
    ]
    assert a.item_rows.tolist() == b.item_rows.tolist()
    levels = zip(a.item_chunks[0].levels.levels, b.item_chunks[0].levels.levels, strict=True)
    assert all(torch.equal(x[0][0], y[0][0]) for x, y in levels)
    other = stream_of(prepared, replace(config, seed=1)).batch(7)
    assert other.item_rows.tolist() != a.item_rows.tolist()
    assert chunk_seed(0, 1, 2) != chunk_seed(0, 2, 1) != chunk_seed(1, 2, 0)


def test_the_mix_is_that_of_the_paper_and_empty_data_sets_leave_no_hole(prepared, config) -> None:
    shares = {"pin": 8.0, "product": 4.0, "offsite": 2.0, "query": 2.0}
    assert composition(shares, 1024) == {"pin": 512, "product": 256, "offsite": 128, "query": 128}
    assert composition({"pin": 8.0, "query": 2.0}, 100) == {"pin": 80, "query": 20}
    assert composition({"pin": 8.0, "query": 0.0}, 100) == {"pin": 100}
    sizes = {part.dataset: len(part.queries) for part in stream_of(prepared, config).batch(0).parts}
    assert sizes == composition(shares, config.batch_pairs)


def test_every_pair_comes_once_in_each_pass_over_its_data_set(prepared, config) -> None:
    pairs = prepared.data.pairs["pin"]
    stream = stream_of(prepared, config)
    size, per_step = len(pairs.queries), stream.counts["pin"]
    seen = np.concatenate([stream._draw(0, "pin", step) for step in range(3 * size // per_step)])
    for start in (0, size):
        assert sorted(seen[start : start + size]) == list(range(size))
    assert seen[:size].tolist() != seen[size : 2 * size].tolist()


def test_random_negatives_are_uniform_over_their_own_entity_type(prepared, config) -> None:
    stream, items = stream_of(prepared, config), prepared.data.items
    for entity in ("pin", "product"):
        start, stop = items.span[entity]
        drawn = np.concatenate([stream._negatives(entity, step) for step in range(300)])
        assert drawn.min() >= start and drawn.max() < stop
        counts = np.bincount(drawn - start, minlength=stop - start)
        expected = len(drawn) / (stop - start)
        assert (np.abs(counts - expected) < 6 * expected**0.5).all()


def test_a_pairs_own_query_is_hidden_among_the_engaged_queries_only(prepared, config) -> None:
    items, data = prepared.data.items, prepared.data
    rows = np.arange(20)
    own_query = [
        next(
            int(s)
            for s, field in zip(
                items.strings.take(np.array([row])).flat,
                items.fields[items.strings.offsets[row] : items.strings.offsets[row + 1]],
                strict=True,
            )
            if field == ENGAGED
        )
        for row in rows
    ]
    own = np.array(own_query)
    before = items.strings.take(rows)
    after = visible_strings(items, rows, own)
    assert (before.lengths - after.lengths).tolist() == [1] * len(rows)
    for row in range(len(rows)):
        assert own[row] not in after.take(np.array([row])).flat
    # As a title, the same words stay.
    title = np.array([items.strings.flat[items.strings.offsets[row]] for row in rows])
    assert visible_strings(items, rows, title).flat.tolist() == before.flat.tolist()
    generator = np.random.default_rng(0)
    kept = visible_strings(items, rows, own, Hiding(1.0, 0.0, 0.0, generator))
    assert kept.flat.tolist() == before.flat.tolist()
    new = visible_strings(items, rows, own, Hiding(1.0, 1.0, 0.0, generator))
    assert (before.lengths - new.lengths).tolist() == [
        int(
            (
                items.fields[items.strings.offsets[row] : items.strings.offsets[row + 1]] == ENGAGED
            ).sum()
        )
        for row in rows
    ]
    nothing = visible_strings(items, rows, own, Hiding(1.0, 0.0, 1.0, generator))
    assert len(nothing.flat) == 0
    assert data.items.strings.flat.tolist() == items.strings.flat.tolist()


def test_pairs_without_a_compat_vector_add_nothing_to_that_task(prepared, config) -> None:
    """The first product has no ItemSage vector."""
    items = prepared.data.items
    first = np.array([items.row_of["product"]["product0000"]])
    vectors, present = items.gather_one(first, "itemsage", 32)
    assert not present.any() and not vectors.any()
    batch = stream_of(prepared, config).batch(0)
    part = next(part for part in batch.parts if part.dataset == "product")
    counts = StreamCounts(4, config.sketch_bits)
    corrections = count_and_correct(counts, batch, sorted(prepared.data.pairs))
    stepper = Stepper(prepared.parts.model, prepared.data.items, config, torch.device("cpu"), False)
    correction = corrections[batch.parts.index(part)]
    without = replace(part, target_rows=np.full_like(part.target_rows, first[0]))
    queries = torch.nn.functional.normalize(torch.randn(len(part.queries), 32), dim=1)

    def loss_of(chosen) -> float:
        sampling = stepper._sampling(chosen, correction, np.arange(len(chosen.queries)))
        task = "product/itemsage"
        return stepper._compat_loss(chosen, queries, sampling, task, "itemsage").item()

    assert loss_of(without) == 0.0
    assert loss_of(part) > 0.0


def test_a_pinned_batch_is_the_same_batch(prepared, config, monkeypatch) -> None:
    """Pinning needs a GPU: here it only copies, and what it leaves out would be seen."""
    copied: list[int] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        copied.append(tensor.numel())
        return tensor.clone()

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    batch = stream_of(prepared, config).batch(3)
    same = pinned(batch)
    assert len(copied) == 1 + 3 * 4 + 1 + 2  # tokens, levels and their transposes; features; ids
    for chunk, other in zip(batch.item_chunks, same.item_chunks, strict=True):
        assert chunk.levels is not other.levels
        assert torch.equal(chunk.features, other.features)
        a, b = (sum_bags(prepared.parts.model.item.hash, one.levels) for one in (chunk, other))
        assert torch.equal(a, b)
    assert torch.equal(batch.query_chunks[0].input_ids, same.query_chunks[0].input_ids)


def test_bf16_is_taken_only_where_asked_for_or_computed_in() -> None:
    cpu = torch.device("cpu")
    assert takes_bf16("bf16", cpu) and not takes_bf16("fp32", cpu)
    able = torch.cpu.get_capabilities()
    assert takes_bf16("auto", cpu) == bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def test_a_step_in_bf16_is_close_to_one_in_fp32(prepared, config) -> None:
    batch = stream_of(prepared, config).batch(1)
    losses = []
    for bf16 in (False, True):
        counts = StreamCounts(4, config.sketch_bits)
        corrections = count_and_correct(counts, batch, sorted(prepared.data.pairs))
        items, model = prepared.data.items, prepared.parts.model.eval()
        stepper = Stepper(model, items, config, torch.device("cpu"), bf16)
        losses.append(stepper.backward(batch, corrections)["loss"])
        model.zero_grad(set_to_none=True)
        model.train()
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert losses[1] != losses[0]
