#!/usr/bin/env python3
"""How bright images are, and how much they vary, of 255: means over the values of the first array of each .npz file.

    scripts/eval/brightness.py [--first N] FILE.npz ...

Needs numpy.
"""

import argparse

import numpy as np

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--first", type=int, metavar="N", help="so many images of each file")
parser.add_argument("files", nargs="+", metavar="FILE.npz")
flags = parser.parse_args()
for file in flags.files:
    with np.load(file) as arrays:
        images = arrays[arrays.files[0]][: flags.first].astype(np.float64)
    print(f"{file}: {len(images)} images, mean {images.mean():.2f}, standard deviation {images.std():.2f}")
