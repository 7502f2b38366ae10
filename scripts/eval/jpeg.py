#!/usr/bin/env python3
"""Crops of scikit-image's photographs as JPEG (quality 90, 4:2:0), and as PNG with the pixels that Pillow reads of those.

    scripts/eval/jpeg.py OUT
    dmp eval OUT/jpeg --reference OUT/png --metrics fid

Needs numpy, pillow, scikit-image.
"""

import sys
from pathlib import Path

import numpy as np
import skimage
from PIL import Image

NAMES = ["coffee.png", "astronaut.png", "chelsea.png", "motorcycle_left.png", "motorcycle_right.png", "rocket.jpg", "retina.jpg", "ihc.png"]

if len(sys.argv) != 2:
    sys.exit(__doc__)
out = Path(sys.argv[1])
data = Path(skimage.__file__).parent / "data"
photographs = [Image.open(data / name).convert("RGB") for name in NAMES]
random = np.random.default_rng(0)
for kind in ("jpeg", "png"):
    (out / kind).mkdir(parents=True, exist_ok=True)
for index in range(400):
    photograph = photographs[index % len(photographs)]
    side = int(random.integers(64, 257))
    left, top = (int(random.integers(0, length - side + 1)) for length in photograph.size)
    crop = photograph.crop((left, top, left + side, top + side)).resize((128, 128), Image.LANCZOS)
    file = out / "jpeg" / f"{index:04}.jpg"
    crop.save(file, quality=90, subsampling="4:2:0")
    Image.open(file).convert("RGB").save(out / "png" / f"{index:04}.png")
