#!/usr/bin/env bash
# `dmp bench` and the PyTorch peer in turn, on the same shape: medians of each, and their ratios.
#
#   scripts/bench/compare.sh [ROUNDS]      default: 3 rounds of DiT-B/2's blocks, batch 4
#
# PYTHON names an interpreter with torch; DMP the binary; BACKBONE, TOKENS and BATCH the shape; DTYPE the number type of both, f32 or
# bf16 (PyTorch's autocast); CHECKPOINTING what ours computes anew (none, mlp or block).
set -euo pipefail
rounds=${1:-3}
dmp=${DMP:-target/release/dmp} python=${PYTHON:-python3}
backbone=${BACKBONE:-dit-b-2} tokens=${TOKENS:-256} batch=${BATCH:-4} dtype=${DTYPE:-f32}
checkpointing=${CHECKPOINTING:-none}
here=$(dirname "${BASH_SOURCE[0]}")
ours="--backbone $backbone --tokens $tokens"
case $backbone in
    dit-s-*) shape="--depth 12 --hidden 384 --heads 6" ;;
    dit-b-*) shape="--depth 12 --hidden 768 --heads 12" ;;
    dit-l-*) shape="--depth 24 --hidden 1024 --heads 16" ;;
    dit-xl-*) shape="--depth 28 --hidden 1152 --heads 16" ;;
    demo) shape="--depth 6 --hidden 64 --heads 2" tokens=49 ours="--backbone demo" ;;
    *) echo "BACKBONE=$backbone: give dit-s-2 to dit-xl-2, or demo" >&2; exit 1 ;;
esac

figure() { sed -n "s/.*\"$1\": *\([0-9.e-]*\).*/\1/p"; }
median() { sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

# The peer, and then the most memory its process has held.
peer='
import json, resource, runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print(json.dumps({"peak_memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for round in $(seq "$rounds"); do
    # shellcheck disable=SC2086
    "$dmp" bench $ours --batch "$batch" --dtype "$dtype" --checkpointing "$checkpointing" --json >"$work/ours-$round"
    # shellcheck disable=SC2086
    "$python" -c "$peer" "$here/pytorch_dit.py" $shape --tokens "$tokens" --batch "$batch" --dtype "$dtype" >"$work/theirs-$round"
done
for key in forward_s step_s peak_memory_bytes; do
    ours=$(cat "$work"/ours-* | figure $key | median)
    theirs=$(cat "$work"/theirs-* | figure $key | median)
    awk -v key=$key -v a="$ours" -v b="$theirs" -v t="$dtype" 'BEGIN {
        if (key ~ /bytes/) { key = "peak_MB"; a /= 1e6; b /= 1e6 }
        printf "%-10s %s: dmp %.4g  PyTorch %.4g  PyTorch/dmp %.2f\n", key, t, a, b, b / a
    }'
done
