#!/usr/bin/env bash
# Builds for NVIDIA cards and packs what such a machine needs: the binary, the device tests with the golden cases, the
# PyTorch peer and check.sh. The builder needs neither a card nor the CUDA toolkit.
#
#   scripts/gpu/build-cuda.sh [FOLDER]       default: target/cuda; holds dmp.tar.xz and devices.tar.xz afterwards
#
# burn links LLVM into `cuda` and fetches a bundle of it while it is built. Without one where it looks for it, the same
# LLVM is put there from PyPI (PYTHON: an interpreter with pip).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=${1:-target/cuda} python=${PYTHON:-python3}

fail() {
    echo "error: $1" >&2
    exit 1
}

# The bundle's version is that of the crate that looks for it: LLVM's, and a number of the bundle.
bundle=$(awk '/^name = "tracel-llvm-bundler"$/ { getline; gsub(/version = |"/, ""); print }' Cargo.lock)
[ -n "$bundle" ] || fail "Cargo.lock has no tracel-llvm-bundler; burn no longer links LLVM in this way"
llvm=${XDG_DATA_HOME:-$HOME/.local/share}/tracel/tracel-llvm-$bundle
wheels_version=23.1.1.post0

wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT

# Both wheels hold parts of one tree, static/, in different packages.
lay_out_llvm() {
    "$python" -m pip download --quiet --no-deps --dest "$wheels" \
        "mlc-llvm-static==$wheels_version" "mlc-llvm-static-extra-targets==$wheels_version" ||
        fail "LLVM cannot be fetched from PyPI; put burn's bundle of LLVM $bundle into $llvm"
    "$python" - "$wheels" "$llvm" <<'PY'
import pathlib, sys, zipfile

wheels, llvm = map(pathlib.Path, sys.argv[1:])
for wheel in sorted(wheels.glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            _, inside, path = entry.filename.partition("/static/")
            if not inside or entry.is_dir():
                continue
            target = llvm / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(entry))
            if path.startswith("bin/"):
                target.chmod(0o755)
PY
    local found
    found=$("$llvm/bin/llvm-config" --version)
    [ "${found%.*}" = "$(cut -d. -f1,2 <<<"$bundle")" ] || fail "PyPI's LLVM is $found, burn wants $bundle"
    "$llvm/bin/llvm-config" --targets-built | grep -w NVPTX >/dev/null || fail "PyPI's LLVM has no NVPTX target"
    touch "$llvm/.tracel-llvm-installed"
}

[ -e "$llvm/.tracel-llvm-installed" ] || lay_out_llvm

# One selection of packages and features for both, so that burn is built once.
selection=(--release --locked -p dmp -p dmp-model --features dmp/cuda)
cargo build "${selection[@]}" --bin dmp
tests=$(cargo test "${selection[@]}" --test devices --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\/devices-[^"]*\)".*/\1/p')
[ -x "$tests" ] || fail "cargo named no executable of the device tests"
dmp=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/dmp

# pack NAME FILES...: strips what is executable and packs it beside its scripts.
pack() {
    local name=$1 stage=$out/$1
    shift
    rm -rf "$stage" && mkdir -p "$stage"
    cp -r "$@" "$stage"
    find "$stage" -maxdepth 1 -type f ! -name '*.*' -exec strip {} +
    tar -C "$out" -c "$name" | xz -T0 -9 >"$out/$name.tar.xz"
    rm -rf "$stage"
    du -h "$out/$name.tar.xz"
}

mkdir -p "$out"
cp "$tests" "$out/device-tests"
pack dmp "$dmp" scripts/gpu/check.sh scripts/bench/pytorch_dit.py
pack devices "$out/device-tests" scripts/gpu/check.sh crates/dmp-model/tests/golden
rm "$out/device-tests"
