#!/bin/sh
# Compiles every program of c/ for BPF cpu v2, v3 and v4 into objects/<cpu>/<area>/.
# Needs clang-19 and llvm-strip-19 (other names: CLANG, STRIP).  BTF stays, DWARF goes; the
# compilation directory is fixed, so the objects do not depend on where the tree lies.
set -eu
cd "$(dirname "$0")/c"
CLANG=${CLANG:-clang-19}
STRIP=${STRIP:-llvm-strip-19}
for cpu in v2 v3 v4; do
	for src in */*.c; do
		out=../objects/$cpu/${src%.c}.o
		mkdir -p "$(dirname "$out")"
		"$CLANG" -target bpf -mcpu=$cpu -O2 -g -Wall -Werror -fdebug-compilation-dir=. -Iinclude \
			-c "$src" -o "$out"
		"$STRIP" -g "$out"
	done
done
# Explanations are tested with DWARF too.
"$CLANG" -target bpf -mcpu=v3 -O2 -g -Wall -Werror -fdebug-compilation-dir=. -Iinclude \
	-c ../debug/names.c -o ../debug/names.o
