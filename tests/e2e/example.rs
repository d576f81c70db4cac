//! `make up ONCE=1` on ports of the test's own: the table equals what the sender counted, an alert arrives, and the
//! program ends by itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{free_port, program};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the root").join("examples")
}

/// `text` with the example's fixed ports replaced.
fn with_ports(text: &str, ports: &[(u16, u16)]) -> String {
    ports.iter().fold(text.to_owned(), |text, (from, to)| text.replace(&from.to_string(), &to.to_string()))
}

#[test]
fn the_example_counts_what_the_sender_counts_and_ends_by_itself() -> anyhow::Result<()> {
    let ports: Vec<(u16, u16)> = [8080, 8443, 9080, 9081].map(|port| (port, free_port())).to_vec();
    let root = tempfile::tempdir()?;
    let folder = root.path().join("shop");
    std::fs::create_dir(&folder)?;
    for entry in std::fs::read_dir(examples().join("shop"))? {
        let path = entry?.path();
        let text = with_ports(&std::fs::read_to_string(&path)?, &ports);
        std::fs::write(folder.join(path.file_name().expect("a file has a name")), text)?;
    }
    let traffic = root.path().join("traffic.json");
    let text = std::fs::read_to_string(examples().join("shop-traffic.json"))?;
    std::fs::write(&traffic, with_ports(&text, &ports))?;
    let output = Command::new(program()?)
        .args(["up", "--listen", "127.0.0.1:0", "--once", "--demo"])
        .args([&traffic, Path::new("--state"), &root.path().join("state"), &folder])
        .output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.contains("The sender counted the same: 660 answers, difference 0."), "{printed}");
    assert!(printed.contains("Alert, signature verified: shop/bob of plan/shop/free/daily"), "{printed}");
    assert!(!printed.contains('✗'), "the example has no mistakes: {printed}");
    Ok(())
}
