#!/usr/bin/env python3
"""Writes tiny random models as diffusers saves them, and what diffusers computes with them:
crates/dmp-model/tests/diffusers.

usage: diffusers_models.py OUT      (needs torch, diffusers and safetensors from PyPI, in a venv)
"""
import json
import pathlib
import sys

import torch
from diffusers import AutoencoderKL, DiTTransformer2DModel
from safetensors.torch import save_file

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)
torch.set_grad_enabled(False)


def fill(net):
    """Every parameter random, so that nothing is zero or one by initialisation."""
    for parameter in net.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.2)
    return net.eval()


# The autoencoder: three levels, so that a latent covers 4x4 pixels.
vae = fill(
    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 16, 16),
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=32,
        scaling_factor=0.3,
    )
)
vae.save_pretrained(out / "vae")
images = torch.randn(2, 3, 24, 16)
latents = torch.randn(2, 4, 6, 4)
large = torch.randn(1, 3, 56, 40)
large_latents = torch.randn(1, 4, 14, 10)
tensors = {"images": images, "latents": latents, "large": large, "large_latents": large_latents}
gaussian = vae.encode(images).latent_dist
tensors["mean"], tensors["std"] = gaussian.mean, gaussian.std
tensors["decoded"] = vae.decode(latents).sample
vae.enable_tiling()
tiled = vae.encode(large).latent_dist
tensors["tiled_mean"], tensors["tiled_std"] = tiled.mean, tiled.std
tensors["tiled_decoded"] = vae.decode(large_latents).sample
save_file({name: value.contiguous() for name, value in tensors.items()}, out / "vae.safetensors")

# The transformer. Diffusers has an embedder a block; a converted DiT has the same in each. Its timestep frequencies and one
# LayerNorm are not the original's, so they are set to those before anything is computed.
dit = fill(
    DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=5,
    )
)
first = dit.transformer_blocks[0].norm1.emb
for block in dit.transformer_blocks:
    block.norm1.emb.load_state_dict(first.state_dict())
    block.norm1.emb.time_proj.downscale_freq_shift = 0
    block.norm3.eps = 1e-6
dit.save_pretrained(out / "dit" / "transformer", max_shard_size="20KB")
(out / "dit" / "model_index.json").write_text(json.dumps({"_class_name": "DiTPipeline"}) + "\n")
x, timesteps, labels = torch.randn(3, 4, 8, 8), torch.tensor([0, 500, 999]), torch.tensor([0, 4, 5])
prediction = dit(x, timestep=timesteps, class_labels=labels).sample
save_file({"x": x, "prediction": prediction.contiguous()}, out / "dit.safetensors")
print({name: (tuple(value.shape), float(value.abs().mean())) for name, value in tensors.items()})
print(float(prediction.abs().mean()), sorted(p.name for p in (out / "dit" / "transformer").iterdir()))
