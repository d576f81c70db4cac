//! Following the folder: say what is wrong, publish what is right, and tell when it is served.

use serde_json::Value;
use tokio::time::Instant;

use super::publish::{Outcome, Publisher};
use super::watch::FolderWatch;
use crate::client::Analytics;
use crate::output::{Style, paint, say};

/// Prints the mistakes that a reading found.
pub(crate) fn report(outcome: &Outcome) -> anyhow::Result<()> {
    for problem in &outcome.problems {
        say(&format!("  {} {problem}", paint(Style::Bad, "✗")))?;
    }
    for file in &outcome.kept {
        say(&format!("  {} {file}: its former content stays in force", paint(Style::Warning, "!")))?;
    }
    Ok(())
}

/// Waits until the gateway serves what was published, or says why it does not.
pub(crate) async fn confirm(
    publisher: &Publisher,
    admin: &Analytics,
    outcome: &Outcome,
) -> anyhow::Result<()> {
    let Some(version) = &outcome.version else {
        let told =
            format!("  {} alerts, prices and names updated: {}", paint(Style::Good, "✓"), outcome.summary);
        return if outcome.catalog { say(&told) } else { Ok(()) };
    };
    let began = Instant::now();
    let answer = publisher.answer(version).await?;
    if answer.accepted {
        let took = began.elapsed().as_millis();
        say_unbound(admin).await?;
        return say(&format!(
            "  {} version {} served after {took} ms: {}",
            paint(Style::Good, "✓"),
            short(version),
            outcome.summary
        ));
    }
    for error in &answer.errors {
        say(&format!(
            "  {} the gateway refused version {}: {error}",
            paint(Style::Bad, "✗"),
            short(version)
        ))?;
    }
    Ok(())
}

/// Names listeners without a socket: the gateway serves the others.
async fn say_unbound(admin: &Analytics) -> anyhow::Result<()> {
    let status: Value = admin.json("/status", &[]).await?;
    for (name, listener) in status["listeners"].as_object().into_iter().flatten() {
        if let Some(error) = listener["error"].as_str() {
            say(&format!("  {} listener {name}: {error}", paint(Style::Bad, "✗")))?;
        }
    }
    Ok(())
}

fn short(version: &str) -> &str {
    version.get(..12).unwrap_or(version)
}

/// Publishes each change of the folder, until the end of the process.
pub(crate) async fn follow(
    publisher: &mut Publisher,
    admin: &Analytics,
    mut watch: FolderWatch,
) -> anyhow::Result<()> {
    let mut former: Vec<String> = Vec::new();
    loop {
        watch.changed().await;
        let outcome = match publisher.publish() {
            Ok(outcome) => outcome,
            Err(error) => {
                // What is served stays as it is, until the folder can be read again.
                say(&format!("  {} {error:#}", paint(Style::Bad, "✗")))?;
                continue;
            }
        };
        if outcome.version.is_some() || outcome.problems != former {
            report(&outcome)?;
        }
        if let Err(error) = confirm(publisher, admin, &outcome).await {
            say(&format!("  {} {error:#}", paint(Style::Bad, "✗")))?;
        }
        former = outcome.problems;
    }
}
