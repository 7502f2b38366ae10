#!/usr/bin/env python3
"""Writes what pytorch-fid's and torch-fidelity's own code computes for Inception-v3 with made-up weights, and for
resized images: crates/dmp-model/tests/inception/*.safetensors.

The weights are a formula (see `fill`), the same in the test, so that 90 MB need not be kept.

usage: inception.py OUT     (needs torch, torchvision, torch-fidelity, pytorch-fid, pillow, numpy, safetensors, in a venv)
"""
import pathlib
import sys

import numpy as np
import torch
from PIL import Image
from pytorch_fid import inception as pytorch_fid
from safetensors.torch import save_file
from torch_fidelity import feature_extractor_inceptionv3 as fidelity
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)


def hashed(count, salt):
    """`count` numbers in [0, 1): the low-discrepancy sequence frac((i + 1)·φ + salt·√2), in f64."""
    i = np.arange(1, count + 1, dtype=np.float64)
    return np.mod(i * 0.6180339887498949 + salt * 1.4142135623730951, 1.0)


def fill(net):
    """Every tensor from its place in the order of names."""
    state = net.state_dict()
    for salt, name in enumerate(sorted(n for n in state if not n.endswith("num_batches_tracked"))):
        tensor = state[name]
        unit = torch.from_numpy(hashed(tensor.numel(), salt)).reshape(tensor.shape)
        if tensor.dim() == 4:
            fan = tensor[0].numel()
            value = (unit - 0.5) * (24.0 / fan) ** 0.5
        elif tensor.dim() == 2:
            value = (unit - 0.5) * 0.2
        elif name.endswith("running_var") or name.endswith("bn.weight"):
            value = 0.5 + unit
        else:
            value = (unit - 0.5) * 0.2
        tensor.copy_(value.float())


torch.manual_seed(0)
torch.set_grad_enabled(False)
# pytorch-fid without its download.
pytorch_fid.load_state_dict_from_url = lambda *a, **k: None
torch.nn.Module.load_state_dict_original = torch.nn.Module.load_state_dict
torch.nn.Module.load_state_dict = lambda self, state, *a, **k: None if state is None else self.load_state_dict_original(state, *a, **k)
net = pytorch_fid.fid_inception_v3().eval()
fill(net)

images = torch.from_numpy(hashed(2 * 3 * 299 * 299, 7)).reshape(2, 3, 299, 299).float() * 2 - 1
# Some structure: a gradient over each image.
ramp = torch.linspace(-1, 1, 299)
images = 0.5 * images + 0.5 * (ramp[None, None, :, None] * ramp[None, None, None, :])
x, spatial = images, None
for name in [
    "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maxpool", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "maxpool",
    "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e", "Mixed_7a",
    "Mixed_7b", "Mixed_7c",
]:
    if name == "Mixed_6d":
        spatial = net.Mixed_6d.branch1x1(x)[:, :7].permute(0, 2, 3, 1).flatten(1)
    x = torch.nn.functional.max_pool2d(x, 3, 2) if name == "maxpool" else getattr(net, name)(x)
pool = x.mean(dim=(2, 3))
tensors = {"pool": pool, "spatial": spatial, "logits": net.fc(pool), "logits_unbiased": pool @ net.fc.weight.T}

# torch-fidelity's own forward pass of the same weights, from bytes.
extractor = fidelity.FeatureExtractorInceptionV3.__new__(fidelity.FeatureExtractorInceptionV3)
pixels = torch.from_numpy((hashed(3 * 40 * 31, 3) * 256).astype(np.uint8)).reshape(1, 3, 40, 31)
resized = interpolate_bilinear_2d_like_tensorflow1x(pixels.float(), size=(299, 299), align_corners=False)
sample = lambda image: image[0, :, ::13, ::7].contiguous()
tensors["resized.torch-fidelity"] = sample((resized - 128) / 128)
interpolated = torch.nn.functional.interpolate(pixels.float() / 255, size=(299, 299), mode="bilinear", align_corners=False)
tensors["resized.pytorch-fid"] = sample(2 * interpolated - 1)


def clean(channel, side):
    """clean-fid's resize of one channel."""
    image = Image.fromarray(channel.numpy().astype(np.float32), mode="F")
    return torch.from_numpy(np.asarray(image.resize((side, side), resample=Image.BICUBIC)).clip(0, 255))


tensors["resized.clean"] = sample((torch.stack([clean(c, 299) for c in pixels[0]])[None] - 128) / 128)
# And making smaller, where antialiasing matters.
large = torch.from_numpy((hashed(350 * 420, 5) * 256).astype(np.uint8)).reshape(350, 420)
tensors["reduced.clean"] = ((clean(large, 299) - 128) / 128)[::13, ::7].contiguous()
save_file({name: value.contiguous() for name, value in tensors.items()}, out / "expected.safetensors")
print({name: (tuple(value.shape), float(value.abs().mean())) for name, value in tensors.items()})
