#!/usr/bin/env python3
"""What torch-fidelity's and pytorch-fid's own functions make of two sets of images, with the features of a TorchScript
Inception: the peer of `dmp eval`.

usage: reference.py INCEPTION.pt SAMPLES.npz REFERENCE.npz FEATURES.safetensors
(needs torch, torch-fidelity, pytorch-fid, safetensors, scipy)
Prints one JSON line with the same keys as `dmp eval --json`, seconds and peak memory, and how far the features are off that
`dmp eval SAMPLES.npz --save FEATURES.safetensors` wrote: the largest ‖a − b‖ / ‖b‖ of an image.
"""
import json
import resource
import sys
import time

import numpy as np
import torch
from pytorch_fid.fid_score import calculate_frechet_distance
from safetensors.torch import load_file
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

network, samples, reference, ours = sys.argv[1:]
start = time.perf_counter()
net = torch.jit.load(network, map_location="cpu").eval()


@torch.no_grad()
def features(path):
    images = torch.from_numpy(np.load(path)["arr_0"]).permute(0, 3, 1, 2)
    if images.shape[1] == 1:
        images = images.repeat(1, 3, 1, 1)
    rows = []
    for batch in images.split(32):
        resized = interpolate_bilinear_2d_like_tensorflow1x(batch.float(), size=(299, 299), align_corners=False)
        rows.append(net((resized - 128) / 128))
    return torch.cat(rows)


a, b = features(samples), features(reference)
taken = time.perf_counter() - start
out = {}
statistics = [fid_features_to_statistics(side) for side in (a, b)]
out["fid"] = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
gaussians = [(side.numpy().mean(0), np.cov(side.numpy(), rowvar=False)) for side in (a, b)]
out["fid_pytorch_fid"] = float(calculate_frechet_distance(*gaussians[0], *gaussians[1]))
kid = kid_features_to_metric(a, b, kid_subsets=100, kid_subset_size=1000, verbose=False)
out["kid"], out["kid_std"] = kid["kernel_inception_distance_mean"], kid["kernel_inception_distance_std"]
prc = prc_features_to_metric(a, b, prc_neighborhood=3, verbose=False)
out["precision"], out["recall"] = prc["precision"], prc["recall"]
out["seconds"] = {"features": taken, "all": time.perf_counter() - start}
out["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
found = load_file(ours)["features"]
out["features_off_by"] = float(((found - a).norm(dim=1) / a.norm(dim=1)).max())
print(json.dumps(out))
