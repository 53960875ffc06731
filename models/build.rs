//! Sets the cfg that names the model checker for the source of `bgtask`, which both packages compile as their own.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(bgtask_loom, bgtask_shuttle)");
    // These packages have none of the features of `bgtask`.
    println!("cargo::rustc-check-cfg=cfg(feature, values(any()))");
    let package = std::env::var("CARGO_PKG_NAME").expect("cargo sets it");
    println!("cargo::rustc-cfg={}", package.replace('-', "_"));
    println!("cargo::rerun-if-changed=../build.rs");
}
