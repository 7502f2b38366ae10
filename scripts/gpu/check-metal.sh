#!/usr/bin/env bash
# Type-checks the method with burn's Metal backend for Apple's processors, on any machine: nothing of C is compiled, so that no
# Apple SDK is needed. The binary itself needs a Mac to build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
rustup target add aarch64-apple-darwin
cargo check -p dmp-model --features metal --tests --locked --target aarch64-apple-darwin
