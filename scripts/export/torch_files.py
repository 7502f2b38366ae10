#!/usr/bin/env python3
"""Writes the small PyTorch files that crates/dmp-model/tests/torch_files reads, and what is in them as safetensors.

usage: torch_files.py OUT      (needs torch, numpy and safetensors from PyPI, in a venv)
"""
import argparse
import pathlib
import sys

import torch
from safetensors.torch import save_file

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
torch.manual_seed(0)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(3, 4)
        self.rest = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))

    def forward(self, x):
        return self.first(x)


net = Net()
state = {name: value.clone() for name, value in net.state_dict().items()}
save_file({name: value.float() for name, value in state.items()}, out / "state.safetensors")

torch.save(state, out / "state.pt")
torch.save(state, out / "state-legacy.pt", _use_new_zipfile_serialization=False)
torch.save(state, out / "state-protocol4.pt", pickle_protocol=4)
torch.jit.script(net).save(out / "script.pt")

# What the original DiT's training writes: an object of a class among the tensors.
ema = {name: value + 1 for name, value in state.items()}
optimizer = torch.optim.AdamW(net.parameters())
net(torch.ones(1, 3)).sum().backward()
optimizer.step()
arguments = argparse.Namespace(model="DiT-S/2", image_size=256)
torch.save({"model": state, "ema": ema, "opt": optimizer.state_dict(), "args": arguments}, out / "checkpoint.pt")

# Number types, a view with an offset, a transposed one, a scalar, a parameter.
base = torch.arange(24, dtype=torch.float32).reshape(4, 6) - 7.5
kinds = {
    "half": base.half(),
    "bfloat16": base.bfloat16(),
    "double": base.double(),
    "long": torch.arange(-3, 3),
    "byte": torch.arange(5, dtype=torch.uint8),
    "view": base[1:3, 2:5],
    "transposed": base.t(),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
    "parameter": torch.nn.Parameter(base[:2]),
}
torch.save(kinds, out / "kinds.pt")
save_file({name: value.detach().float().contiguous().clone() for name, value in kinds.items()}, out / "kinds.safetensors")


class Hostile:
    """Executed by Python's unpickler; a parser must only see names."""

    def __reduce__(self):
        import os

        return os.system, ("touch /tmp/dmp-was-hacked",)




torch.save({"weight": base, "trap": Hostile()}, out / "hostile.pt")
