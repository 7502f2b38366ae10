#!/usr/bin/env bash
# `dmp bench` and the PyTorch peer in turn, on the same shape: medians of each, and their ratios.
#
#   scripts/bench/compare.sh [ROUNDS]      default: 3 rounds of DiT-B/2's blocks, batch 4
#
# PYTHON names an interpreter with torch; DMP the binary; BACKBONE, TOKENS and BATCH the shape; DTYPE the number type of both, f32 or bf16 (PyTorch's autocast).
set -euo pipefail
rounds=${1:-3}
dmp=${DMP:-target/release/dmp} python=${PYTHON:-python3}
backbone=${BACKBONE:-dit-b-2} tokens=${TOKENS:-256} batch=${BATCH:-4} dtype=${DTYPE:-f32}
here=$(dirname "${BASH_SOURCE[0]}")
case $backbone in
    dit-s-*) shape="--depth 12 --hidden 384 --heads 6" ;;
    dit-b-*) shape="--depth 12 --hidden 768 --heads 12" ;;
    dit-l-*) shape="--depth 24 --hidden 1024 --heads 16" ;;
    dit-xl-*) shape="--depth 28 --hidden 1152 --heads 16" ;;
    *) echo "BACKBONE=$backbone: give dit-s-2 to dit-xl-2" >&2; exit 1 ;;
esac

figure() { sed -n "s/.*\"$1\": *\([0-9.e-]*\).*/\1/p"; }
median() { sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for round in $(seq "$rounds"); do
    "$dmp" bench --backbone "$backbone" --tokens "$tokens" --batch "$batch" --dtype "$dtype" --json >"$work/ours-$round"
    # shellcheck disable=SC2086
    "$python" "$here/pytorch_dit.py" $shape --tokens "$tokens" --batch "$batch" --dtype "$dtype" >"$work/theirs-$round"
done
for key in forward_s step_s; do
    ours=$(cat "$work"/ours-* | figure $key | median)
    theirs=$(cat "$work"/theirs-* | figure $key | median)
    awk -v key=$key -v a="$ours" -v b="$theirs" -v t="$dtype" \
        'BEGIN { printf "%-10s %s: dmp %.4f  PyTorch %.4f  PyTorch/dmp %.2f\n", key, t, a, b, b / a }'
done
