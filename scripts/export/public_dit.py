#!/usr/bin/env python3
"""Writes a tiny random DiT as the public code's train.py saves it, {model, ema, opt, args}, and what that code computes with
the averaged weights: crates/dmp/tests/public.

usage: public_dit.py DIT OUT      (DIT is a checkout of facebookresearch/DiT; needs torch, timm and safetensors from PyPI)
"""
import argparse
import json
import pathlib
import sys

import torch
from safetensors.torch import save_file

sys.path.insert(0, sys.argv[1])
from models import DiT  # noqa: E402

out = pathlib.Path(sys.argv[2])
out.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)
torch.set_grad_enabled(False)

sizes = dict(input_size=8, patch_size=2, in_channels=4, hidden_size=24, depth=2, num_heads=3, num_classes=5)
model, ema = DiT(**sizes), DiT(**sizes).eval()
for net in (model, ema):
    for name, parameter in net.named_parameters():
        if name != "pos_embed":
            parameter.copy_(torch.randn_like(parameter) * 0.2)
x = torch.randn(3, 4, 8, 8)
t, y = torch.tensor([0, 417, 999]), torch.tensor([0, 4, 5])
expected = ema(x, t.float(), y)
optimiser = torch.optim.AdamW(list(model.parameters())[:2], lr=1e-4)
checkpoint = {
    "model": model.state_dict(),
    "ema": ema.state_dict(),
    "opt": optimiser.state_dict(),
    "args": argparse.Namespace(model="tiny", image_size=64, num_classes=5, vae="ema"),
}
torch.save(checkpoint, out / "0000001.pt")
# Heads of a width that was never published leave no trace in shapes.
(out / "config.json").write_text(json.dumps({"num_heads": sizes["num_heads"]}) + "\n")
save_file(
    {"in.x": x, "in.t": t.float(), "in.y": y.float(), "out": expected.contiguous()}, out / "expected.safetensors"
)
print((out / "0000001.pt").stat().st_size)
