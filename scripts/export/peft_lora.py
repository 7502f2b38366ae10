#!/usr/bin/env python3
"""Writes what `crates/dmp-model/tests/peft` holds: a LoRA as PEFT saves it, of a module whose parts are named as the public DiT's,
and the weights of that module before and after PEFT has merged the LoRA into them. With --check LORA-FOLDER, loads a folder that
`dmp convert` wrote into PEFT instead, and says whether every tensor arrived.

usage: peft_lora.py OUT      (needs torch, peft and safetensors from PyPI, in a venv)
       peft_lora.py --check LORA-FOLDER HIDDEN DEPTH
"""
import pathlib
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file


class Part(torch.nn.Module):
    def __init__(self, **maps):
        super().__init__()
        for name, (inputs, outputs) in maps.items():
            setattr(self, name, torch.nn.Linear(inputs, outputs))

    def forward(self, x):
        return x


class Block(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.attn = Part(qkv=(width, 3 * width), proj=(width, width))
        self.mlp = Part(fc1=(width, 4 * width), fc2=(4 * width, width))


class Blocks(torch.nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.blocks = torch.nn.ModuleList(Block(width) for _ in range(depth))

    def forward(self, x):
        return x


def export(out):
    torch.manual_seed(0)
    model = Blocks(16, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    adapted = get_peft_model(model, LoraConfig(r=3, lora_alpha=5, target_modules=["attn.qkv", "mlp.fc2"], lora_dropout=0.1))
    for name, value in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(value, std=0.1)
    adapted.save_pretrained(out)
    after = adapted.merge_and_unload().state_dict()
    weights = {f"before.{name}": value for name, value in before.items() if name.endswith("weight")}
    weights |= {f"after.{name}": value.contiguous() for name, value in after.items() if name.endswith("weight")}
    save_file(weights, out / "merged.safetensors")
    (out / "README.md").unlink(missing_ok=True)


def check(folder, width, depth):
    adapted = PeftModel.from_pretrained(Blocks(width, depth), folder)
    held = {name.replace(".default", ""): value for name, value in adapted.named_parameters() if "lora_" in name}
    given = load_file(folder / "adapter_model.safetensors")
    assert held.keys() == given.keys(), held.keys() ^ given.keys()
    for name, value in given.items():
        assert torch.equal(held[name], value), name
    config = adapted.peft_config["default"]
    print(f"{len(given)} tensors arrived in PEFT, rank {config.r}, alpha {config.lora_alpha}")


if sys.argv[1] == "--check":
    check(pathlib.Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
else:
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    export(folder)
