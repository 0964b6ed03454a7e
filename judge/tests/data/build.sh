#!/bin/sh
# Compiles the objects of these tests (clang-19, llvm-strip-19).
set -eu
cd "$(dirname "$0")"
for src in *.c; do
	clang-19 -target bpf -mcpu=v3 -O2 -g -fdebug-compilation-dir=. -I../../../corpus/c/include -c "$src" -o "${src%.c}.o"
	llvm-strip-19 -g "${src%.c}.o"
done
