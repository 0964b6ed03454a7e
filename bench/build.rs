//! Builds uBPF from the checkout that UBPF_DIR names; without one its columns stay empty.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-env-changed=UBPF_DIR");
    println!("cargo:rustc-check-cfg=cfg(ubpf)");
    let Some(dir) = env::var_os("UBPF_DIR") else { return };
    let vm = Path::new(&dir).join("vm");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("ubpf_config.h"), "#pragma once\n#define UBPF_HAS_ELF_H\n")
        .expect("writes the configuration");
    let files = [
        "instruction_valid",
        "jit",
        "jit_arm64",
        "jit_support",
        "jit_x86_64",
        "safe",
        "loader",
        "vm",
    ];
    let mut build = cc::Build::new();
    build.include(vm.join("inc")).include(&vm).include(&out).opt_level(2).warnings(false);
    for name in files {
        let file = vm.join(format!("ubpf_{name}.c"));
        if file.exists() {
            build.file(file);
        }
    }
    build.compile("ubpf");
    println!("cargo:rustc-cfg=ubpf");
}
