"""Training throughput on made-up data with a preset's shapes: no files, no network.

    python benchmarks/train.py --preset paper --steps 300              # a GPU: the paper's batch
    python benchmarks/train.py --preset demo --steps 10 --plain        # beside a plain loop
    python benchmarks/train.py --preset demo --pairs 4096 --steps 3 --chunk 512 --cached

Prints pairs per second (the median step), processor seconds per step (all threads; other programs
affect them little), the share of time that steps waited for their batch, and the peak memory. With
`--plain` a plain PyTorch loop takes as many steps on the same batches from the same weights. Peak
memory is per process: compare settings over several runs.
"""

from __future__ import annotations

import argparse
import copy
import os
import resource
import statistics
import time
from contextlib import closing
from dataclasses import replace

import torch
from plain_training import PlainTraining
from synthetic_catalogue import synthetic

from omnisearch.encoders.config import Config, preset_config
from omnisearch.encoders.training.learner import Learner, batches_ahead
from omnisearch.encoders.training.parallel import this_device

WARM_UP = 2


def settings(options: argparse.Namespace) -> Config:
    changes = {
        "steps": options.steps + WARM_UP,
        "chunk_items": options.chunk,
        "chunk_queries": options.chunk,
        "cached_gradients": options.cached,
        "field_dropout": 0.0,
        "feature_dropout": 0.0,
    }
    config = preset_config(options.preset, **changes)
    if options.plain:
        config = replace(config, query_dropout=0.0)  # the two would drop different units
    config = replace(config, precision=options.precision or config.precision)
    return replace(config, batch_pairs=options.pairs or config.batch_pairs)


def peak_memory(device: torch.device) -> str:
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if device.type == "cpu":
        return f"{host:.2f} GiB"
    return f"{torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB GPU, {host:.2f} GiB host"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--pairs", type=int, help="in a batch; the preset's otherwise")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--items", type=int, default=20_000, help="in the catalogue")
    parser.add_argument("--chunk", type=int, default=0, help="items or queries encoded at a time")
    parser.add_argument("--cached", action="store_true", help="cached gradients")
    parser.add_argument("--precision", help="auto, fp32 or bf16; the preset's otherwise")
    parser.add_argument("--plain", action="store_true", help="measure a plain loop too")
    options = parser.parse_args()
    config, device = settings(options), this_device()
    load = os.getloadavg()[0]
    made = synthetic(config, options.items)
    weights = copy.deepcopy(made.model.state_dict()) if options.plain else {}
    learner = Learner(made.model, made.data, config, device)
    before = peak_memory(device)
    reports, clock = [], []
    with closing(batches_ahead(made.stream, 0)) as coming:
        for _ in range(config.steps):
            clock.append(time.process_time())
            reports.append(learner.learn(*next(coming)))
    busy = (time.process_time() - clock[WARM_UP]) / len(reports[WARM_UP:])
    timed = reports[WARM_UP:]
    seconds = statistics.median(report.seconds for report in timed)
    waited = sum(report.waited for report in timed) / sum(report.seconds for report in timed)
    pairs = timed[0].pairs
    print(
        f"{config.preset}: {pairs:,} pairs and {made.stream.batch(0).item_rows.size:,} items a ",
        end="",
    )
    print(f"step; {len(timed)} steps; {options.items:,} items in the catalogue, ", end="")
    print(f"{sum(parameter.numel() for parameter in made.model.parameters()):,} parameters")
    print(f"device {device}, bf16 {learner.stepper.bf16}, {os.cpu_count()} cores, ", end="")
    print(f"{torch.get_num_threads()} threads, load before {load:.1f}")
    print(f"throughput   {pairs / seconds:10,.0f} pairs/s  ({seconds:.2f} s a step, ", end="")
    print(f"{busy:.2f} processor seconds)")
    print(f"waiting      {waited:10.1%} of the time, for batches")
    print(f"peak memory  {peak_memory(device)}; before the first step {before}")
    if options.plain:
        made.model.load_state_dict(weights)
        plain = PlainTraining(made, config, device)
        found = [plain.learn(made.stream.batch(step)) for step in range(config.steps)]
        slow = statistics.median(step.seconds for step in found[WARM_UP:])
        slow_busy = statistics.median(step.processor for step in found[WARM_UP:])
        print(f"plain loop   {pairs / slow:10,.0f} pairs/s  ({slow:.2f} s a step, ", end="")
        print(f"{slow_busy:.2f} processor seconds)")
        print(f"ratio        {slow / seconds:10.1f}, of processor seconds {slow_busy / busy:.1f}")
        print(f"first losses {reports[0].loss:10.5f} and plain {found[0].loss:.5f}")


if __name__ == "__main__":
    main()
