//! The console in a real browser, over a running example: every page, by keyboard, in both modes, accessible.
//!
//! Screenshots go to `SCREENSHOTS`, or to a folder that is removed.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tests::{Example, kill, program, until};

struct Up(Child);

impl Drop for Up {
    fn drop(&mut self) {
        kill(self.0.id(), "TERM");
        let _ = self.0.wait();
    }
}

#[test]
fn people_can_use_the_console() -> anyhow::Result<()> {
    let example = Example::copy()?;
    let printed = example.state().with_extension("out");
    let up = Command::new(program()?)
        .args(example.args())
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&printed)?)
        .spawn()?;
    let _up = Up(up);
    // The demo's traffic is over and counted, and the last of its alerts has arrived.
    until("the demo's last alert arrives", Duration::from_secs(90), || {
        std::fs::read_to_string(&printed).is_ok_and(|text| text.contains("(100 %)"))
    });
    let info: serde_json::Value = serde_json::from_slice(&std::fs::read(example.state().join("run.json"))?)?;
    let token = std::fs::read_to_string(example.state().join("token"))?;
    let kept = std::env::var_os("SCREENSHOTS").map(PathBuf::from);
    let scratch = tempfile::tempdir()?;
    let folder = kept.as_deref().unwrap_or(scratch.path());
    let console = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../dashboards/console");
    let output = Command::new("node")
        .current_dir(console)
        .args(["test/console.mjs", info["analytics"].as_str().unwrap_or_default(), token.trim()])
        .arg(folder)
        .output()?;
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
