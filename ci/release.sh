#!/bin/sh
# Builds what a release holds: static Linux binaries for x86-64 and arm64, completions, man pages,
# an archive per target and their checksums.
#
#   ci/release.sh [OUT]        (default: target/dist)
#
# A target whose standard library is installed (`rustup target add aarch64-unknown-linux-gnu`) is built
# with it; else RUST_SRC, the `library` folder of the compiler's own sources, lets cargo build it.
# arm64 is linked with aarch64-linux-gnu-gcc (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross).
# PROFILE is cargo's profile, TARGETS the list of targets.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
out=${1:-$root/target/dist}
profile=${PROFILE:-release}
targets=${TARGETS:-x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu}
mkdir -p "$out"
out=$(CDPATH='' cd -- "$out" && pwd)
cd "$root"

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER="${AARCH64_LINKER:-aarch64-linux-gnu-gcc}"

build() { # TARGET
    if [ -d "$(rustc --print sysroot)/lib/rustlib/$1/lib" ]; then
        RUSTFLAGS="-C target-feature=+crt-static" \
            cargo build --locked -p bpfassay-cli --profile "$profile" --target "$1"
    elif [ -n "${RUST_SRC:-}" ]; then
        __CARGO_TESTS_ONLY_SRC_ROOT=$RUST_SRC RUSTC_BOOTSTRAP=1 RUSTFLAGS="-C target-feature=+crt-static" \
            cargo build -p bpfassay-cli --profile "$profile" --target "$1" -Zbuild-std
    else
        echo "$1: its standard library is not installed, and RUST_SRC is not set" >&2
        return 1
    fi
}

for target in $targets; do
    build "$target"
done

case " $targets " in
    *" $host "*) own=$root/target/$host/$profile/bpfassay ;;
    *) cargo build -p bpfassay-cli --profile "$profile" && own=$root/target/$profile/bpfassay ;;
esac

for target in $targets; do
    name=bpfassay-$version-$target
    stage=$out/$name
    rm -rf "$stage"
    mkdir -p "$stage/completions" "$stage/man/man1"
    cp "target/$target/$profile/bpfassay" README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$stage/"
    for shell in bash zsh fish powershell elvish; do
        "$own" completions "$shell" >"$stage/completions/bpfassay.$shell"
    done
    "$own" man "$stage/man/man1"
    # The same sources make the same archive.
    tar -C "$out" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" -cf - "$name" |
        gzip -n -9 >"$out/$name.tar.gz"
    rm -rf "$stage"
done
cd "$out"
sha256sum bpfassay-"$version"-*.tar.gz >SHA256SUMS
cat SHA256SUMS
