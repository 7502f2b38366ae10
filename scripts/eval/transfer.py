#!/usr/bin/env python3
"""Does a patch that has seen half of the classes make the other half better? Trains it on five classes of Fashion-MNIST's
training images, draws images of the five others, bare and patched, from the same noise, and measures both against the test
images of those classes, in Inception's features.

usage: transfer.py OUT IDX INCEPTION.pt [SEED...]

IDX is the folder of Fashion-MNIST's four files (Debian: dataset-fashion-mnist). OUT keeps every step, and what is there is not
done again. DMP names the binary; STEPS, BATCH and COUNT (images of a class) in the environment change the size of the runs.
Needs numpy.
"""
import gzip
import json
import os
import pathlib
import statistics
import subprocess
import sys

import numpy

out, idx, inception = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
seeds = [int(seed) for seed in sys.argv[4:]] or [4, 5, 6]
dmp = os.environ.get("DMP", "target/release/dmp")
steps, batch, count = (os.environ.get(*pair) for pair in (("STEPS", "1000"), ("BATCH", "128"), ("COUNT", "500")))
seen, others = range(5), range(5, 10)
out.mkdir(parents=True, exist_ok=True)


def read(name, offset):
    with gzip.open(next(idx.glob(name + "*")), "rb") as file:
        return numpy.frombuffer(file.read(), numpy.uint8, offset=offset)


def write(path, images, labels, classes):
    """The images of some classes, as `dmp` takes them."""
    if not path.exists():
        chosen = numpy.isin(labels, list(classes))
        numpy.savez(path, arr_0=images.reshape(-1, 28, 28, 1)[chosen], arr_1=labels[chosen].astype(numpy.int64))


def run(*words):
    return subprocess.run([dmp, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True).stdout


write(out / "seen.npz", read("train-images", 16), read("train-labels", 8), seen)
write(out / "others.npz", read("t10k-images", 16), read("t10k-labels", 8), others)


def measured(name, seed, *patch):
    """FID and its kin of the classes that were not trained on."""
    found = out / f"{name}-{seed}.json"
    if not found.exists():
        drawn = []
        for label in others:
            part = out / "part.npz"
            run("sample", "--model", "demo", "--class", label, "--count", count, "--seed", 10 * seed + label, "--npz", part, *patch)
            drawn.append(numpy.load(part)["arr_0"])
        samples = out / f"{name}-{seed}.npz"
        numpy.savez(samples, arr_0=numpy.concatenate(drawn))
        flags = ["--inception", inception, "--metrics", "fid,prdc", "--json"]
        found.write_text(run("eval", samples, "--reference", out / "others.npz", *flags))
    return json.loads(found.read_text())


changes = []
for seed in seeds:
    patch = out / f"patch-{seed}"
    if not (patch / "patch.safetensors").exists():
        mixture = ["--position", "mix", "--prompt-rate", "0.02", "--gate-rate", "1e-4", "--gate-noise", "false"]
        size = ["--steps", steps, "--batch", batch, "--flip", "false", "--seed", seed, "--out", patch]
        run("train", "--model", "demo", "--data", out / "seen.npz", *mixture, *size)
    base, patched = measured("base", seed), measured("patched", seed, "--patch", patch)
    changes.append(100 * (patched["fid"] / base["fid"] - 1))
    print(
        f"seed {seed}: FID {base['fid']:.2f} to {patched['fid']:.2f} ({changes[-1]:+.2f} %), "
        f"recall {base['recall']:.3f} to {patched['recall']:.3f}"
    )
error = statistics.stdev(changes) / len(changes) ** 0.5 if len(changes) > 1 else float("nan")
print(f"change {statistics.mean(changes):+.2f} ± {error:.2f} % (± one standard error, {len(changes)} seeds)")
