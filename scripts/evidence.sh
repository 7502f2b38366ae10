#!/usr/bin/env bash
# Does a patch make the embedded model better? Trains it from three seeds, draws 10 000 images of the bare and of the
# patched model from the same noise for each seed, and prints distances, their mean and its standard error.
#
#   scripts/evidence.sh OUT [REFERENCE [flags of `dmp train`…]]
#
# OUT keeps everything: what is there is not done again, other flags or another model are refused, and a patch that was
# trained further is measured anew. REFERENCE is held-out (the default) or validation.
# COUNT, SEEDS and MODEL in the environment change the number of images, the seeds and the model; DMP names the binary.
set -euo pipefail
out=${1:?usage: scripts/evidence.sh OUT [held-out|validation [train flags]]}
reference=${2:-held-out}
shift $(($# > 2 ? 2 : $#))
count=${COUNT:-10000}
seeds=${SEEDS:-1 2 3}
model=${MODEL:-demo}
dmp=${DMP:-target/release/dmp}
mkdir -p "$out"

# score FILE SEED [--patch …]: the measured distance, measured once.
score() {
    local file=$1 seed=$2
    shift 2
    if [[ ! -s $file ]]; then
        "$dmp" eval --model "$model" --count "$count" --seed "$seed" --reference "$reference" --json "$@" >"$file.partial"
        mv "$file.partial" "$file"
    fi
}

# patched SEED: where the distance of the patch that is there now is kept.
patched() {
    local sum
    sum=$(sha256sum "$out/patch-$1/patch.safetensors")
    echo "$out/patch-$1.$reference.$count.${sum:0:12}.json"
}

figure() { sed -n "s/^ *\"$2\": \([0-9.]*\).*/\1/p" "$1"; }

for seed in $seeds; do
    run=$out/patch-$seed
    # A finished run takes no further step; one with other settings or of another model is refused.
    "$dmp" train --model "$model" --data demo --out "$run" --seed "$seed" "$@" >/dev/null
    score "$out/base-$seed.$reference.$count.json" "$seed"
    patch=$run/patch.safetensors
    score "$(patched "$seed")" "$seed" --patch "$patch"
done

for seed in $seeds; do
    base=$out/base-$seed.$reference.$count.json patched=$(patched "$seed")
    echo "$seed" "$(figure "$base" frechet)" "$(figure "$patched" frechet)" \
        "$(figure "$base" accuracy)" "$(figure "$patched" accuracy)"
done | awk '
    BEGIN { print "seed  base     patched  change    accuracy" }
    {
        change = 100 * ($3 / $2 - 1)
        printf "%-4s  %-7.3f  %-7.3f  %+6.2f %%  %.2f %% to %.2f %%\n", $1, $2, $3, change, 100 * $4, 100 * $5
        n++; b += $2; bb += $2 * $2; p += $3; pp += $3 * $3; c += change; cc += change * change
    }
    function error(sum, squares) { return n > 1 ? sqrt((squares - sum * sum / n) / (n - 1) / n) : 0 }
    END {
        printf "mean  %.3f ± %.3f to %.3f ± %.3f, change %+.2f ± %.2f %% (± one standard error, %d seeds)\n",
            b / n, error(b, bb), p / n, error(p, pp), c / n, error(c, cc), n
    }'
