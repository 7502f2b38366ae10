"""Stable Diffusion's autoencoder with random weights, images of noise for it, and how long PyTorch takes with both.

    pip install torch diffusers pillow
    python scripts/bench/vae.py FOLDER
    time dmp cache --data FOLDER/images --vae FOLDER/vae --image-size 256 --out FOLDER/latents
    time dmp sample --model FOLDER/dit --vae FOLDER/vae --sampling-steps 1 --count 4 --npz FOLDER/drawn.npz

Seconds an encoding or decoding, in f32 on two threads. `dmp cache` encodes each image twice, as it is and mirrored; the second
and third commands' times include loading, and the third's a step of a small transformer.
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DiTTransformer2DModel
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
    # Something to draw latents with, of one block: what is timed is what the autoencoder makes of them.
    dit = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        sample_size=SIZE // 8,
        patch_size=2,
        num_embeds_ada_norm=1,
    )
    dit.save_pretrained(folder / "dit" / "transformer")
    (folder / "dit" / "model_index.json").write_text('{"_class_name": "DiTPipeline"}\n')
    images = folder / "images" / "all"
    images.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for index in range(COUNT):
        pixels = random.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{index}.png")
    with torch.inference_mode():
        batch = torch.rand(BATCH, 3, SIZE, SIZE) * 2 - 1
        latents = torch.randn(BATCH, 4, SIZE // 8, SIZE // 8)
        print(f"encode: {best(lambda: vae.encode(batch)) / BATCH:.2f} s")
        print(f"decode: {best(lambda: vae.decode(latents)) / BATCH:.2f} s")


main()
