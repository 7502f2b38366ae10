#!/usr/bin/env python3
"""Writes small image data as other programs save it, and the pixels that they read from it: crates/dmp/tests/images.

usage: image_data.py OUT      (needs numpy, pillow, datasets, webdataset and safetensors from PyPI, in a venv)
"""
import pathlib
import sys

import datasets
import numpy as np
import webdataset
from PIL import Image, ImageOps
from safetensors.numpy import save_file

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(0)


def smooth(height, width, channels):
    """An image without edges, so that decoders of JPEG differ little."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [128 + 100 * np.sin(0.2 * x * (c + 1) + 0.15 * y + c) for c in range(channels)]
    return np.stack(planes, -1).round().astype(np.uint8)


# What single files can be. Saved without subsampling, at high quality.
single = out / "single"
single.mkdir(exist_ok=True)
jpeg = {"quality": 98, "subsampling": 0}
colour = Image.fromarray(smooth(18, 24, 3))
colour.save(single / "plain.jpg", **jpeg)
Image.fromarray(smooth(18, 24, 4), "CMYK").save(single / "cmyk.jpg", **jpeg)
exif = Image.Exif()
exif[0x0112] = 6
colour.save(single / "turned.jpg", exif=exif, **jpeg)
colour.quantize(16).save(single / "palette.png")
Image.fromarray(smooth(18, 24, 4), "RGBA").save(single / "transparent.png")
colour.save(single / "lossless.webp", lossless=True)
deep = (smooth(18, 24, 1)[..., 0].astype(np.uint16) * 257 + 40).clip(0, 65535)
Image.fromarray(deep).save(single / "deep.png")

expected = {}
for path in sorted(single.iterdir()):
    image = ImageOps.exif_transpose(Image.open(path))
    if path.name == "deep.png":
        # Pillow cuts 16 bits off at 255.
        pixels = np.round(deep / 257.0).astype(np.uint8)[..., None].repeat(3, -1)
    else:
        pixels = np.asarray(image.convert("RGB"))
    expected[path.name] = np.ascontiguousarray(pixels)

# Data sets of seven images; the last two are of the third class.
pictures = [rng.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in range(7)]
labels = [0, 1, 0, 1, 1, 2, 2]
captions = [f"picture {index}" for index in range(7)]
expected["pictures"] = np.stack(pictures)
features = datasets.Features(
    {
        "photo": datasets.Image(),
        "kind": datasets.ClassLabel(names=["cat", "dog", "cow", "bird"]),
        "text": datasets.Value("string"),
    }
)
columns = {"photo": [Image.fromarray(p) for p in pictures], "kind": labels, "text": captions}
table = datasets.Dataset.from_dict(columns, features=features)
table.to_parquet(out / "train-00000-of-00001.parquet", batch_size=3)

for shard, rows in (("0", range(4)), ("1", range(4, 7))):
    with webdataset.TarWriter(str(out / f"shard-{shard}.tar"), mtime=0) as writer:
        for row in rows:
            key = f"sample{row:03}"
            writer.write({"__key__": key, "png": Image.fromarray(pictures[row]), "cls": labels[row], "txt": captions[row]})
save_file(expected, out / "expected.safetensors")
