#!/usr/bin/env python3
"""Writes the 10 000 test images of Fashion-MNIST as an .npz that `dmp eval --reference` takes: `arr_0`, `[10000, 28, 28, 1]`.

usage: test_images.py IDX OUT.npz

IDX is the folder of Fashion-MNIST's files (Debian: dataset-fashion-mnist). Needs numpy.
"""
import gzip
import pathlib
import sys

import numpy

idx, out = map(pathlib.Path, sys.argv[1:])
with gzip.open(next(idx.glob("t10k-images*")), "rb") as file:
    images = numpy.frombuffer(file.read(), numpy.uint8, offset=16)
numpy.savez(out, arr_0=images.reshape(-1, 28, 28, 1))
