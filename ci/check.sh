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
# A fixed number of programs from a fixed seed: the same answer on every machine.  Longer campaigns are run by hand.
cargo run --profile quick --locked -- fuzz --seed 1 --programs "${FUZZ_PROGRAMS:-100000}"
ci/wasm.sh
ci/platforms.sh
