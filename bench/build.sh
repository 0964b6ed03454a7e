#!/bin/sh
# Compiles programs/*.c into objects/NAME.o (sched_cls) and objects/NAME.bin (bare instructions, where
# a program needs neither map nor context).  Needs clang-19, llvm-strip-19 and llvm-objcopy-19.
set -eu
cd "$(dirname "$0")/programs"
CLANG=${CLANG:-clang-19}
STRIP=${STRIP:-llvm-strip-19}
OBJCOPY=${OBJCOPY:-llvm-objcopy-19}
mkdir -p ../objects
for src in *.c; do
	name=${src%.c}
	flags="-target bpf -mcpu=v3 -O2 -Wall -Werror -fdebug-compilation-dir=. -I. -I../../corpus/c/include"
	"$CLANG" $flags -g -c "$src" -o ../objects/"$name".o
	"$STRIP" -g ../objects/"$name".o
	if grep -q '^BENCH' "$src" && ! grep -q '"maps.h"' "$src"; then
		"$CLANG" $flags -DRAW -c "$src" -o ../objects/"$name".tmp
		"$OBJCOPY" -O binary --only-section=raw ../objects/"$name".tmp ../objects/"$name".bin
		rm ../objects/"$name".tmp
	fi
done
