//! Compiles the eBPF programs with clang and writes their skeletons, which embed the object files.

use std::env;
use std::path::Path;

use libbpf_cargo::SkeletonBuilder;

fn main() {
    let out_dir = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets CARGO_CFG_TARGET_ARCH");
    for name in ["steer", "reuseport"] {
        SkeletonBuilder::new()
            .source(format!("src/bpf/{name}.bpf.c"))
            // Debian keeps asm/*.h apart for each architecture, where clang does not look when it compiles for BPF.
            .clang_args([&format!("-I/usr/include/{arch}-linux-gnu"), "-Wall", "-Wextra", "-Werror"])
            .build_and_generate(Path::new(&out_dir).join(format!("{name}.skel.rs")))
            .unwrap_or_else(|error| panic!("src/bpf/{name}.bpf.c: {error:?}"));
    }
    println!("cargo:rerun-if-changed=src/bpf");
}
