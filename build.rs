//! Gives the shared library the name that programs linked against it will look for: `libtreecache.so.0`.
//! Cargo itself knows no SONAME, and without one a program would record the path it was linked with. cargo-c gives the
//! name by itself; it is recognised by the feature that it turns on.
//!
//! The library is also marked as one that stays loaded: its threads run in it, whoever calls `dlclose`.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = env::var("CARGO_CFG_TARGET_OS").expect("cargo sets it");
    if target == "linux" {
        link_arg("-z,nodelete");
    }
    if env::var_os("CARGO_FEATURE_CAPI").is_some() {
        return;
    }
    let major = env::var("CARGO_PKG_VERSION_MAJOR").expect("cargo sets it");
    match target.as_str() {
        "linux" => link_arg(&format!("-soname,libtreecache.so.{major}")),
        "macos" => link_arg(&format!("-install_name,@rpath/libtreecache.{major}.dylib")),
        _ => {}
    }
}

fn link_arg(arg: &str) {
    println!("cargo:rustc-cdylib-link-arg=-Wl,{arg}");
}
