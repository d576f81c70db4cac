//! The client of `gateway/snapshot/proto/snapshots.proto`, made without a `protoc` on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = "../../gateway/snapshot/proto";
    println!("cargo::rerun-if-changed={folder}");
    let files = protox::compile(["snapshots.proto"], [folder])?;
    tonic_prost_build::configure().build_server(false).compile_fds(files)?;
    Ok(())
}
