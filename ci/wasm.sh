#!/bin/sh
# Builds the front door for wasm32-unknown-unknown, judges objects inside it under Node.js, and compares each report
# with the native program's.   ci/wasm.sh [BPFASSAY [OBJECT...]]
set -eu
cd "$(dirname "$0")/.."
target=wasm32-unknown-unknown
if rustc --print target-libdir --target $target | xargs test -d; then
	cargo build --release --manifest-path wasm/Cargo.toml --target $target
else
	src=$(ci/rust-src.sh)
	# The flag is of the unreleased kind; a released cargo takes it when told to.
	RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT="$src/library" cargo build --release \
		-Zbuild-std=std,panic_abort --manifest-path wasm/Cargo.toml --target $target
fi
bpfassay=${1:-target/debug/bpfassay}
[ $# -gt 1 ] && shift || set -- corpus/objects/v3/reject/*.o corpus/objects/v3/map/*.o
node wasm/check.mjs wasm/target/$target/release/bpfassay_wasm.wasm "$bpfassay" "$@"
