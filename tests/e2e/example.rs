//! `make up ONCE=1` on ports of the test's own: the table equals what the sender counted, an alert arrives, and the
//! program ends by itself.

use std::process::Command;

use tests::{Example, program};

#[test]
fn the_example_counts_what_the_sender_counts_and_ends_by_itself() -> anyhow::Result<()> {
    let example = Example::copy()?;
    let output = Command::new(program()?).args(example.args()).arg("--once").output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.contains("The sender counted the same: 660 answers, difference 0."), "{printed}");
    assert!(printed.contains("Alert, signature verified: shop/bob of plan/shop/free/daily"), "{printed}");
    assert!(!printed.contains('✗'), "the example has no mistakes: {printed}");
    Ok(())
}
