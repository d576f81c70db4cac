//! Asks analytics how quotas stand, by TLS with certificates of our CA on both sides.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::identity::Identity;
use crate::usage::{Answer, Usage};

/// Between two questions. Crossings of thresholds are told to alert receivers at once, by analytics itself.
const PERIOD: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(10);
/// Analytics came and went: what was heard holds for this long.
const HOLDS: u32 = 6;

/// Asks while we lead, for as long as somebody listens to `usage`, which is `None` while nothing is known.
pub(crate) async fn run(
    http: reqwest::Client,
    url: String,
    mut leads: watch::Receiver<bool>,
    usage: watch::Sender<Option<Usage>>,
) {
    let mut missed = 0;
    while !usage.is_closed() {
        if leads.wait_for(|leads| *leads).await.is_err() {
            return;
        }
        match ask(&http, &url).await {
            Ok(heard) => {
                missed = 0;
                usage.send_replace(Some(heard));
            }
            Err(error) => {
                missed += 1;
                if missed == 1 {
                    tracing::warn!(
                        url,
                        error,
                        "analytics does not say how quotas stand; statuses keep what they have"
                    );
                }
                if missed == HOLDS {
                    usage.send_replace(None);
                }
            }
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn ask(http: &reqwest::Client, url: &str) -> Result<Usage, String> {
    let now = Timestamp::now();
    let answer =
        http.get(format!("{url}/v1/quotas")).send().await.and_then(reqwest::Response::error_for_status);
    let answer: Answer = answer.map_err(text)?.json().await.map_err(text)?;
    Ok(Usage::new(answer, now))
}

/// A client that shows `identity` and takes only servers of our CA.
pub(crate) fn client(identity: &Identity, ca: &str) -> reqwest::Result<reqwest::Client> {
    let pair = format!("{}{}", identity.chain, identity.key);
    reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .identity(reqwest::Identity::from_pem(pair.as_bytes())?)
        .tls_certs_only(reqwest::Certificate::from_pem_bundle(ca.as_bytes())?)
        .build()
}

#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
fn text(error: reqwest::Error) -> String {
    use std::error::Error;
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
