//! Builds the eBPF programs (`ebpf/`) into one object that the binary carries.
//!
//! Where that cannot be done (no bpf-linker, no rust-src), an empty object takes its place, so that `cargo check` and the
//! unit tests still work; such a kscope says at start that it was built without its programs. `make` installs both.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result};

/// The toolchain of rust-toolchain.toml, for the eBPF crate too.
const TOOLCHAIN: &str = "1.95.0";

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=PATH");
    let out = PathBuf::from(env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    // The benchmark's empty programs are built only when it is asked for.
    let features: &[&str] = if env::var_os("CARGO_FEATURE_BENCH").is_some() { &["floor"] } else { &[] };
    let objects = ["kscope-ebpf", "kscope-floor"].map(|name| out.join(name));
    let skip = env::var_os("AYA_BUILD_SKIP").is_some_and(|v| v == "1");
    if let Some(missing) = missing_tool().filter(|_| !skip) {
        println!("cargo:warning=building without the eBPF programs: {missing} is missing; `make run` installs it");
        return stand_in(&objects);
    }
    // SAFETY: a build script has one thread here. Only the eBPF crate is built with unstable features: this variable
    // reaches aya-build's cargo, not the one that runs this script.
    unsafe { env::set_var("RUSTC_BOOTSTRAP", "1") };
    let package = aya_build::Package { name: "kscope-ebpf", root_dir: "ebpf", features, ..Default::default() };
    aya_build::build_ebpf([package], aya_build::Toolchain::Custom(TOOLCHAIN))?;
    stand_in(&objects)
}

/// Puts an empty object in the place of each that was not built.
fn stand_in(objects: &[PathBuf]) -> Result<()> {
    for object in objects.iter().filter(|object| !object.exists()) {
        fs::write(object, []).context("write an empty object")?;
    }
    Ok(())
}

/// What is needed to build the programs and not there.
fn missing_tool() -> Option<&'static str> {
    let on_path =
        env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|dir| dir.join("bpf-linker").is_file()));
    if !on_path {
        return Some("bpf-linker");
    }
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    let sysroot = String::from_utf8(sysroot.stdout).ok()?;
    let source = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core");
    (!source.is_dir()).then_some("the rust-src component")
}
