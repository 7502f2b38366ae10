#!/usr/bin/env bash
# The tests that compute on a GPU, built for Vulkan and run on whatever has a driver. `.ci/run` calls it.
#
#   check-vulkan.sh          the method: golden cases, training steps, samplers, features (8 minutes from nothing on 2 cores)
#   check-vulkan.sh --build  only builds those
#   check-vulkan.sh --all    the command line too, in a release build with autotuning
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

scripts/gpu/vulkan-driver.sh
tests=(cargo test --profile gpu -p dmp-model --features vulkan --locked --test devices)
if [ "${1:-}" = --build ]; then exec "${tests[@]}" --no-run; fi
# Drivers complain where there is none.
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-$(mktemp -d)}
"${tests[@]}"
if [ "${1:-}" = --all ]; then
    cargo test --release -p dmp --features vulkan --locked --test cli devices::
fi
