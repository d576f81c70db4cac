//! Changes of the folder while requests run: served soon, and a mistake changes nothing but its own object.

use std::time::Duration;

use tests::shop::{self, Caller};
use tests::{Setup, Upstream, eventually, free_port};

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_is_named_and_changes_nothing_else() -> anyhow::Result<()> {
    let callers = [Caller::new("alice", 1000, "Day")];
    let upstream = Upstream::start().await?;
    let port = free_port();
    let machine = Setup::new()
        .file("gateway.yaml", shop::gateway(port, upstream.port(), &callers))
        .file("callers.yaml", shop::callers(&callers))
        .start()?;
    let status = async || -> anyhow::Result<u16> {
        let url = format!("http://127.0.0.1:{port}/anything");
        let response = machine.http().get(url).header("x-api-key", callers[0].key()).send().await?;
        Ok(response.status().as_u16())
    };
    assert_eq!(status().await?, 200);

    let good = shop::callers(&callers);
    machine.write("callers.yaml", &good.replace("quantity: 1000", "quantitty: 1000"))?;
    let line = machine.expect_line("quantitty", Duration::from_secs(10))?;
    assert!(line.contains("callers.yaml:") && line.contains("Plan shop/alice"), "{line}");
    assert_eq!(status().await?, 200, "the former content stays in force");

    machine.write("callers.yaml", &good.replace("quantity: 1000", "quantity: 2"))?;
    eventually("the smaller quota is in force", Duration::from_secs(10), || async {
        match status().await.map_err(|error| error.to_string())? {
            429 => Ok(()),
            other => Err(format!("status {other}")),
        }
    })
    .await;
    machine.write("callers.yaml", &good)?;
    eventually("the raised quota is in force", Duration::from_secs(10), || async {
        match status().await.map_err(|error| error.to_string())? {
            200 => Ok(()),
            other => Err(format!("status {other}")),
        }
    })
    .await;
    Ok(())
}
