#!/bin/sh
# Prints the folder that holds `library/` of this Rust's source, from which the standard library is built for targets
# that are not installed.  Looks where rustup and Debian put it; else fetches Debian's package from the mirror that apt
# is configured with, into target/rust-src.
set -eu
cd "$(dirname "$0")/.."
version=$(rustc --version | cut -d' ' -f2)
for dir in "$(rustc --print sysroot)/lib/rustlib/src/rust" "/usr/src/rustc-$version" "$PWD/target/rust-src/usr/src/rustc-$version"; do
	if [ -f "$dir/library/std/Cargo.toml" ]; then
		echo "$dir"
		exit 0
	fi
done
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
	grep -oE 'https?://[^ ]*/debian/? ' | head -n 1 | tr -d ' ')
mirror=${mirror:-$(cat /etc/apt/sources.list.d/*.sources 2>/dev/null | sed -n 's/^URIs: *\(https*:[^ ]*debian\)\/*$/\1/p' | head -n 1)}
pool=${mirror%/}/pool/main/r/rustc
name=$(curl -sfL "$pool/" | grep -oE "rust-src_${version}[^\"<>]*_all\\.deb" | head -n 1 || true)
name=${name:-rust-src_$version+dfsg1-2~bpo13+1_all.deb}
mkdir -p target/rust-src
curl -sSfL --retry 3 -o target/rust-src/rust-src.deb "$pool/$name" >&2
dpkg-deb -x target/rust-src/rust-src.deb target/rust-src >&2
rm target/rust-src/rust-src.deb
[ -f "target/rust-src/usr/src/rustc-$version/library/std/Cargo.toml" ]
echo "$PWD/target/rust-src/usr/src/rustc-$version"
