#!/bin/bash -eu
# Builds every fuzz target with the compiler and sanitizer that the builder's image sets.
cd "$SRC/bpfassay"
cargo fuzz build -O
for target in $(cargo fuzz list); do
	cp "fuzz/target/x86_64-unknown-linux-gnu/release/$target" "$OUT/"
done
for target in object btf; do
	zip -jq "$OUT/${target}_seed_corpus.zip" object/tests/data/*
done
