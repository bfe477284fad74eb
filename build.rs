//! Gives the shared library the name that programs linked against it will look for: `libtreecache.so.0`.
//! Cargo itself knows no SONAME, and without one a program would record the path it was linked with.
//!
//! It is also marked as one that stays loaded: its threads run in it, whoever calls `dlclose`.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let major = env::var("CARGO_PKG_VERSION_MAJOR").expect("cargo sets it");
    match env::var("CARGO_CFG_TARGET_OS").expect("cargo sets it").as_str() {
        "linux" => println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libtreecache.so.{major},-z,nodelete"),
        "macos" => {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libtreecache.{major}.dylib")
        }
        _ => {}
    }
}
