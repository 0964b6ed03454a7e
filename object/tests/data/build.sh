#!/bin/sh
# Rebuilds the objects and BTF here from their sources: clang 19, llvm-objcopy 19, libbpf's and the C library's headers.
set -e
cd "$(dirname "$0")"
flags="--target=bpf -mcpu=v3 -g -O2 -Wall -I/usr/include/$(uname -m)-linux-gnu"
for f in maps core calls; do
	clang-19 $flags -c $f.c -o $f.o
done
clang-19 $flags -c kernel.c -o kernel.tmp.o
llvm-objcopy-19 --dump-section .BTF=kernel.btf kernel.tmp.o /dev/null
rm kernel.tmp.o
