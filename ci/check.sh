#!/bin/sh
# Everything that must hold beside the tests: formatting, lints, what is built apart from the workspace,
# a campaign of a minute, WebAssembly.
set -eux
cd "$(dirname "$0")/.."
cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings
for apart in bench fuzz wasm; do
	cargo check --manifest-path $apart/Cargo.toml
done
ci/oldest.sh
cargo run --profile quick --locked -- fuzz --time "${FUZZ_SECONDS:-60}"
ci/wasm.sh
ci/platforms.sh
