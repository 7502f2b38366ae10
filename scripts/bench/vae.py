"""Stable Diffusion's autoencoder with random weights, images of noise for it, and how long PyTorch takes with both.

    pip install torch diffusers pillow
    python scripts/bench/vae.py FOLDER
    time dmp cache --data FOLDER/images --vae FOLDER/vae --image-size 256 --out FOLDER/latents

Seconds an image, in f32 on two threads; the second command's include loading.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

COUNT, BATCH, SIZE = 8, 4, 256


def best(work):
    """Seconds that the fastest of three takes."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main():
    folder = Path(sys.argv[1])
    torch.set_num_threads(2)
    torch.manual_seed(0)
    levels = (128, 256, 512, 512)
    vae = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * len(levels),
        up_block_types=["UpDecoderBlock2D"] * len(levels),
        block_out_channels=levels,
        layers_per_block=2,
        latent_channels=4,
        sample_size=SIZE,
        scaling_factor=0.18215,
    ).eval()
    vae.save_pretrained(folder / "vae")
    images = folder / "images" / "all"
    images.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for index in range(COUNT):
        pixels = random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{index}.png")
    with torch.inference_mode():
        batch = torch.rand(BATCH, 3, SIZE, SIZE) * 2 - 1
        latents = torch.randn(1, 4, SIZE // 8, SIZE // 8)
        print(f"encode: {best(lambda: vae.encode(batch)) / BATCH:.2f} s")
        print(f"decode: {best(lambda: vae.decode(latents)):.2f} s")


main()
