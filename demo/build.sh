#!/bin/sh
# Compiles the three stages of the demonstration into objects/<stage>/; needs clang-19 and llvm-strip-19
# (other names: CLANG, STRIP).
set -eu
cd "$(dirname "$0")/c"
for src in before/*.c change/*.c fix/*.c; do
	out=../objects/${src%.c}.o
	mkdir -p "$(dirname "$out")"
	"${CLANG:-clang-19}" -target bpf -mcpu=v3 -O2 -g -Wall -Werror -fdebug-compilation-dir=. -I. \
		-c "$src" -o "$out"
	"${STRIP:-llvm-strip-19}" -g "$out"
done
