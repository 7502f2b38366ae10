# `just` lists the recipes.

_default:
    @just --list

# The README's test command
test:
    cargo test --release --workspace

# Everything that must pass before a change lands
ci:
    .ci/run

# Format and lint
lint:
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets -- -D warnings

# Licences, advisories, sources and bans of the dependencies (needs cargo-deny)
deny:
    cargo deny check

# API documentation, as strict as CI
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps

# Patch the embedded model and show what that gains
demo *args:
    cargo run --release -- demo {{args}}

# Rebuild assets/ from its sources
assets *args:
    cargo xtask assets {{args}}
