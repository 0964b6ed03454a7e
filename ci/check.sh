#!/bin/sh
# Everything that must hold beside the tests: formatting, lints, what is built apart from the workspace, WebAssembly.
set -eux
cd "$(dirname "$0")/.."
cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings
for apart in bench fuzz wasm; do
	cargo check --manifest-path $apart/Cargo.toml
done
ci/oldest.sh
ci/wasm.sh
ci/platforms.sh
