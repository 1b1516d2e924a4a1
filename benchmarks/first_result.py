"""From a CSV file to a first result, without training: the real commands, each a new process.

    python benchmarks/first_result.py [--products 5000]

Writes made-up products to a CSV file, and runs in a fresh workspace what README says: import, build
and search by words, as if no text encoder were installed; then with the extra `minilm`, if it is.
Prints seconds and processor seconds of each command, and their sums up to the results. Processor
seconds tell more where other programs run at the same time.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from omnisearch.encoders.packaged import MINILM, installed

QUERY = "copper bathroom sink"
MAIN = "from omnisearch.cli.main import main; main()"
WITHOUT = "from omnisearch.pipeline import encoder; encoder.installed = lambda name: False"
BRANDS = ("Nordvane", "Foxglen", "Umbrio", "Juno Marsh", "Birchenough", "Ostrelle", "Zephra")
STYLES = ("antique", "minimal", "boho", "rustic", "modern", "industrial", "scandinavian", "retro")
ROOMS = ("bathroom", "kitchen", "bedroom", "living room", "hallway", "garden", "office", "nursery")
COLOURS = ("charcoal grey", "sage green", "navy", "ivory", "terracotta", "mustard", "matt black")
MATERIALS = ("copper", "oak", "walnut", "brass", "linen", "velvet", "rattan", "marble", "steel")
THINGS = (
    *("sink", "chair", "table lamp", "mirror", "bookshelf", "rug", "vase", "cabinet", "sofa"),
    *("side table", "towel rail", "clock", "planter", "bench", "cushion", "tap", "coat rack"),
)
SENTENCES = (
    "This {thing} is made of {material} by hand, so that every piece looks slightly different.",
    "Its {other} details go well with what is in your {room} already.",
    "It arrives assembled, wipes clean with a damp cloth and comes with a warranty of two years.",
    "The surface is sealed against water and light, and it will not fade over the years.",
    "We work with small workshops that use {material} from certified sources only.",
    "A generous size makes it the centre of any {room}, whether for every day or for guests.",
    "Choose it alone or together with the other pieces of the collection in {other}.",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--products", type=int, default=5_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file, workspace = Path(folder) / "products.csv", Path(folder) / "workspace"
        write_products(file, options.products)
        load = os.getloadavg()[0]
        print(f"{options.products:,} products; {os.cpu_count()} processors, load {load:.1f}\n")
        print(f"{'':34}{'seconds':>9}{'processor seconds':>20}")
        imported = ran(MAIN, "import", file, "-w", workspace)
        built = ran(f"{WITHOUT}; {MAIN}", "index", "build", "-w", workspace)
        found = ran(MAIN, "search", QUERY, "-w", workspace)
        total("to a result by words", imported, built, found)
        if installed(MINILM):
            embedded = ran(MAIN, "index", "build", "-w", workspace)
            found = ran(MAIN, "search", QUERY, "--system", "embedding", "-w", workspace)
            total("to a result by embeddings", imported, embedded, found)


def ran(program: str, *words: object) -> np.ndarray:
    """Seconds and processor seconds of a command in a process of its own; prints them."""
    command = [sys.executable, "-c", program, *map(str, words)]
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    took = np.array([time.perf_counter() - began, spent])
    shown = [str(word) for word in words if not isinstance(word, Path) and word != "-w"]
    line(f"omnisearch {' '.join(shown)[:22]}", took)
    return took


def total(name: str, *parts: np.ndarray) -> None:
    line(name, np.sum(parts, axis=0))
    print()


def line(name: str, took: np.ndarray) -> None:
    print(f"{name:34}{took[0]:>9.1f}{took[1]:>20.1f}", flush=True)


def write_products(path: Path, count: int, seed: int = 7) -> None:
    """Made-up products, with titles of some 10 words and descriptions of some 50."""
    draw = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("id", "title", "description", "brand", "price", "currency"))
        for number in range(count):
            brand, style, room = draw.choice(BRANDS), draw.choice(STYLES), draw.choice(ROOMS)
            colour, size = draw.choice(COLOURS), f"{draw.randint(10, 240)} cm"
            (material, other), thing = draw.sample(MATERIALS, 2), draw.choice(THINGS)
            title = f"{brand} {style} {material} {thing} for the {room}, {colour}, {size}"
            said = draw.sample(SENTENCES, 4)
            text = " ".join(said).format(thing=thing, material=material, other=other, room=room)
            price = f"{draw.uniform(5, 500):.2f}"
            rows.writerow((f"sku-{number:05}", title, text, brand, price, "USD"))


if __name__ == "__main__":
    main()
