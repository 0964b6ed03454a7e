#!/bin/sh
# Compiles every file of c/ into objects/.  Needs clang-19 and llvm-strip-19 (other names: CLANG, STRIP).
set -eu
cd "$(dirname "$0")/c"
mkdir -p ../objects
for src in *.c; do
	out=../objects/${src%.c}.o
	"${CLANG:-clang-19}" -target bpf -mcpu=v3 -O2 -g -Wall -Werror -Wno-unused-const-variable -Wno-unused-variable -fdebug-compilation-dir=. -c "$src" -o "$out"
	"${STRIP:-llvm-strip-19}" -g "$out"
done
