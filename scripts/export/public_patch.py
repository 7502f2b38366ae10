#!/usr/bin/env python3
"""Writes a checkpoint as the public code's train.py saves it, of a golden case's patch (without the backbone, which is a
megabyte): crates/dmp-model/tests/public/cond-add-top8.pt.

usage: public_patch.py CASE OUT      (CASE is a folder of crates/dmp-model/tests/golden; needs torch, omegaconf, safetensors)
"""
import pathlib
import sys

import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

case, out = map(pathlib.Path, sys.argv[1:])
out.mkdir(parents=True, exist_ok=True)
model = load_file(case / "patch.safetensors")
parameters = [torch.nn.Parameter(model[name].clone()) for name in ("w_noise", "gate.bias")]
optimizer = torch.optim.AdamW(parameters)
sum(p.sum() for p in parameters).backward()
optimizer.step()
config = OmegaConf.create(
    {
        "general": {"schedule_name": "cosine", "topk": 0.5},
        "models": {"name": "tiny", "vp": {"topk": 0.5, "type": "add", "gate_type": "linear", "uncond": False}},
    }
)
torch.save({"model": model, "opt": optimizer.state_dict(), "config": config}, out / f"{case.name}.pt")
print((out / f"{case.name}.pt").stat().st_size)
