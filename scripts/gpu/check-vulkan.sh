#!/usr/bin/env bash
# The tests that compute on a GPU, built for Vulkan and run on whatever has a driver; where nothing has, Mesa's software
# device is installed with apt-get. That one takes minutes for tiny shapes, so that `.ci/run` does not call this yet.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

has_device() {
    compgen -G '/usr/share/vulkan/icd.d/*.json' >/dev/null && ldconfig -p | grep 'libvulkan\.so\.1' >/dev/null
}

if ! has_device; then
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || {
        echo "error: no Vulkan driver here; install your card's, or mesa-vulkan-drivers and libvulkan1" >&2
        exit 1
    }
    apt-get update >/dev/null && apt-get install -y --no-install-recommends mesa-vulkan-drivers libvulkan1 >/dev/null
fi
# Both builds have the same features, so they share one burn.
tests() {
    cargo test --release -p dmp-model -p dmp --features dmp/vulkan --locked "$@"
}
tests --test devices
tests --test cli devices::
