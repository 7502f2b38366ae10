#!/usr/bin/env bash
# What is checked on a machine with an NVIDIA card: the golden cases on it, then `dmp bench` beside PyTorch, eager and
# compiled, in the same run. Lies beside what build-cuda.sh packs, and does what the files beside it allow.
#
#   ./check.sh [golden|bench]...             default: both
#
# PYTHON names an interpreter with torch; MODELS, BATCHES, DTYPE (bf16 or f32; default: bf16 if dmp has it there) and REPS
# say what is timed. Ratios are PyTorch's time over dmp's: above 1 dmp is faster. OUT names a folder for the raw figures.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
python=${PYTHON:-python3}
read -ra models <<<"${MODELS:-dit-b-2 dit-l-2 dit-xl-2}"
read -ra batches <<<"${BATCHES:-64 128}"
reps=${REPS:-7} tokens=256
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
raw=${OUT:-$work}/gpu-check.jsonl

fail() {
    echo "error: $1" >&2
    exit 1
}

# shape MODEL: what pytorch_dit.py has to be told of it.
shape() {
    case $1 in
    dit-s-2) echo --depth 12 --hidden 384 --heads 6 ;;
    dit-b-2) echo --depth 12 --hidden 768 --heads 12 ;;
    dit-l-2) echo --depth 24 --hidden 1024 --heads 16 ;;
    dit-xl-2) echo --depth 28 --hidden 1152 --heads 16 ;;
    *) fail "MODELS: $1 is none of dit-s-2, dit-b-2, dit-l-2, dit-xl-2" ;;
    esac
}

golden() {
    [ -x ./device-tests ] || fail "no device-tests here; unpack devices.tar.xz of build-cuda.sh"
    DMP_DEVICE=cuda DMP_GOLDEN=golden ./device-tests --nocapture --test-threads 1
}

# timed LABEL COMMAND...: its JSON on one line into the raw figures and into $work/LABEL; a failure is told and leaves none.
timed() {
    local label=$1 log=$work/$1.log
    shift
    rm -f "$work/$label"
    if "$@" >"$work/said" 2>"$log"; then
        tr -d '\n' <"$work/said" >"$work/$label"
        { cat "$work/$label"; echo; } >>"$raw"
    else
        echo "failed: $*: $(tail -n 1 "$log")" >&2
    fi
}

# seconds LABEL KEY: of a command that was timed, or nothing.
seconds() {
    [ -e "$work/$1" ] && sed -n "s/.*\"$2\": *\([0-9.e-]*\).*/\1/p" "$work/$1"
}

# row MODEL BATCH KEY: what each took, and how it compares.
row() {
    local all=()
    for label in dmp eager compiled; do
        all+=("$(seconds $label "$3" || true)")
    done
    awk -v model="$1" -v batch="$2" -v what="${3%_s}" -v ours="${all[0]}" -v eager="${all[1]}" -v compiled="${all[2]}" '
        function ms(s) { return s == "" ? "-" : sprintf("%.2f", 1000 * s) }
        function ratio(s) { return s == "" || ours == "" ? "-" : sprintf("%.2f", s / ours) }
        BEGIN { printf "%-10s %6s %-8s %10s %10s %10s %8s %9s\n", model, batch, what, ms(ours), ms(eager), ms(compiled),
                ratio(eager), ratio(compiled) }'
}

bench() {
    [ -x ./dmp ] || fail "no dmp here; unpack dmp.tar.xz of build-cuda.sh"
    local dtype=${DTYPE:-}
    if [ -z "$dtype" ]; then
        dtype=bf16
        ./dmp bench --device cuda --dtype bf16 --batch 1 --reps 1 >/dev/null 2>&1 || dtype=f32
    fi
    # Whatever else keeps it from computing, this says in its own words.
    ./dmp bench --device cuda --dtype "$dtype" --batch 1 --reps 1 >/dev/null
    "$python" -c 'import torch; torch.zeros(1, device="cuda")' >/dev/null 2>&1 ||
        fail "$python has no torch that computes on the card; set PYTHON"
    printf '\n%s; %s in ms, medians of %s runs\n' "$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1)" "$dtype" "$reps"
    printf '%-10s %6s %-8s %10s %10s %10s %8s %9s\n' model batch what dmp eager compiled /eager /compiled
    for model in "${models[@]}"; do
        local peer words
        words=$(shape "$model")
        read -ra peer <<<"$words"
        for batch in "${batches[@]}"; do
            local size=(--tokens "$tokens" --batch "$batch" --dtype "$dtype" --reps "$reps")
            timed dmp ./dmp bench --device cuda --backbone "$model" "${size[@]}" --json
            timed eager "$python" pytorch_dit.py "${peer[@]}" "${size[@]}" --device cuda
            timed compiled "$python" pytorch_dit.py "${peer[@]}" "${size[@]}" --device cuda --compile
            row "$model" "$batch" forward_s
            row "$model" "$batch" step_s
        done
    done
}

command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1 || fail "nvidia-smi finds no NVIDIA card with a driver here"
[ $# -gt 0 ] || set -- golden bench
for what; do
    case $what in
    golden | bench) "$what" ;;
    *) fail "'$what' is no check; give golden or bench" ;;
    esac
done
