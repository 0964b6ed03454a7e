#!/bin/sh
# Checks the workspace with the oldest Rust that it names (`rust-version`), which rustup fetches; its files stay apart in
# target/oldest.
set -eu
cd "$(dirname "$0")/.."
version=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
rustup toolchain install "$version" --profile minimal --no-self-update
CARGO_TARGET_DIR=target/oldest RUSTUP_TOOLCHAIN=$version cargo check --workspace --locked
