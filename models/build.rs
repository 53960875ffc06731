//! Says to the runtime's source, which both packages compile as their own, whose model checker it runs under.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(bgtask_loom, bgtask_shuttle)");
    // What `bgtask` has as features, these packages do without.
    println!("cargo::rustc-check-cfg=cfg(feature, values(any()))");
    let package = std::env::var("CARGO_PKG_NAME").expect("cargo sets it");
    println!("cargo::rustc-cfg={}", package.replace('-', "_"));
    println!("cargo::rerun-if-changed=../build.rs");
}
