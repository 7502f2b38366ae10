#!/usr/bin/env bash
# Does a patch that was trained at one size make images of other sizes better? Draws the embedded model at each size, bare and
# patched, from the same noise, and measures both in Inception's features, which any size is brought to.
#
#   scripts/eval/sizes.sh OUT REFERENCE.npz INCEPTION.pt PATCH-SEED...
#
# The last are run directories whose names end in their seeds, as runs/patch-4: the seed is that of the noise too. OUT keeps
# every measurement, and what is there is not taken again. COUNT and SIZES in the environment change the number of images
# and the sizes (height x width); DMP names the binary.
set -euo pipefail
out=${1:?usage: scripts/eval/sizes.sh OUT REFERENCE.npz INCEPTION.pt PATCH-SEED...}
reference=$2 inception=$3
shift 3
count=${COUNT:-2000}
sizes=${SIZES:-28x28 20x28 28x20 20x20 32x32 40x40}
dmp=${DMP:-target/release/dmp}
mkdir -p "$out"

# score FILE [flags]: measured once.
score() {
    local file=$1
    shift
    if [[ ! -s $file ]]; then
        "$dmp" eval --model demo --count "$count" --reference "$reference" --inception "$inception" \
            --metrics fid,prdc --json "$@" >"$file.partial"
        mv "$file.partial" "$file"
    fi
}

figure() { sed -n "s/^ *\"$2\": \([0-9.]*\).*/\1/p" "$1"; }

for size in $sizes; do
    for run in "$@"; do
        seed=${run##*-}
        score "$out/base-$size-$seed.json" --size "$size" --seed "$seed"
        score "$out/patched-$size-$seed.json" --size "$size" --seed "$seed" --patch "$run"
    done
done

for size in $sizes; do
    for run in "$@"; do
        base=$out/base-$size-${run##*-}.json patched=$out/patched-$size-${run##*-}.json
        echo "$size" "$(figure "$base" fid)" "$(figure "$patched" fid)" "$(figure "$base" recall)" "$(figure "$patched" recall)"
    done
done | awk '
    {
        change = 100 * ($3 / $2 - 1)
        if (!($1 in n)) order[++kinds] = $1
        n[$1]++; b[$1] += $2; p[$1] += $3; c[$1] += change; cc[$1] += change * change; r[$1] += $4; q[$1] += $5
    }
    END {
        print "size    base    patched  change, ± one standard error  recall"
        for (k = 1; k <= kinds; k++) {
            s = order[k]; m = n[s]
            error = m > 1 ? sqrt((cc[s] - c[s] * c[s] / m) / (m - 1) / m) : 0
            printf "%-6s  %-6.2f  %-7.2f  %+6.2f ± %.2f %%               %.3f to %.3f\n", s, b[s] / m, p[s] / m, c[s] / m, error, r[s] / m, q[s] / m
        }
    }'
