#!/bin/sh
# Checks that everything but the chores and the solver builds for hosts that are not Linux.
set -eu
cd "$(dirname "$0")/.."
for target in x86_64-pc-windows-msvc aarch64-apple-darwin; do
	if rustc --print target-libdir --target $target | xargs test -d; then
		cargo check --workspace --exclude bpfassay-xtask --exclude bpfassay-prove --target $target
	else
		src=$(ci/rust-src.sh)
		RUSTC_BOOTSTRAP=1 __CARGO_TESTS_ONLY_SRC_ROOT="$src/library" cargo check -Zbuild-std=std,panic_abort \
			--workspace --exclude bpfassay-xtask --exclude bpfassay-prove --target $target
	fi
done
