//! Builds the binary again when the console was built again.

fn main() {
    let console = "../../dashboards/console/dist";
    // A path that is absent would mean building anew each time.
    let _ = std::fs::create_dir_all(console);
    println!("cargo::rerun-if-changed={console}");
    println!("cargo::rerun-if-changed=build.rs");
}
