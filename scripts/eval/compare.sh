#!/usr/bin/env bash
# `dmp eval` beside torch-fidelity and pytorch-fid on the same images: figures, seconds, peak memory.
#
#   scripts/eval/compare.sh INCEPTION.pt SAMPLES.npz REFERENCE.npz
#
# PYTHON names an interpreter with torch, torch-fidelity, pytorch-fid, safetensors and scipy; DMP the binary. Needs GNU time.
set -euo pipefail
weights=$1 samples=$2 reference=$3
dmp=${DMP:-target/release/dmp} python=${PYTHON:-python3}
here=$(dirname "${BASH_SOURCE[0]}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Features kept from an earlier run would be no measurement.
XDG_CACHE_HOME=$work /usr/bin/time -f '{"seconds": %e, "peak_memory_kib": %M}' -o "$work/time.json" \
    "$dmp" eval "$samples" --reference "$reference" --inception "$weights" --metrics fid,kid,prdc --json \
    --save "$work/features.safetensors" >"$work/ours.json"
"$python" "$here/reference.py" "$weights" "$samples" "$reference" "$work/features.safetensors" >"$work/theirs.json"
echo ours:
cat "$work/ours.json" "$work/time.json"
echo theirs:
cat "$work/theirs.json"
