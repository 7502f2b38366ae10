#!/usr/bin/env bash
# Sees to it that Vulkan has a driver: the machine's own, or Mesa's software device, installed with apt-get.
set -euo pipefail

has_driver() {
    compgen -G '/usr/share/vulkan/icd.d/*.json' >/dev/null && ldconfig -p | grep 'libvulkan\.so\.1' >/dev/null
}

has_driver && exit 0
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update >/dev/null && apt-get install -y --no-install-recommends mesa-vulkan-drivers libvulkan1 >/dev/null
fi
has_driver || {
    echo "error: no Vulkan driver here; install your card's, or mesa-vulkan-drivers and libvulkan1" >&2
    exit 1
}
