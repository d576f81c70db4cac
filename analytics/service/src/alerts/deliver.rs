//! Delivers alerts: soon, again after failures, until the receiver has them or a day and more has passed.
//!
//! In: the outbox. Out: requests to receivers; the state of each delivery, durable before it is shown. A crash between an
//! answer and its note repeats a delivery under the same id. Where to send comes from the catalog in force, so a removed
//! channel gets nothing more. Redirects are not followed and answers are not kept: a receiver can only say yes or no.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use gateway_snapshot::{AlertChannel, Catalog};
use jiff::{SignedDuration, Timestamp};
use rand::RngExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Alert, Delivery, DeliveryState, Outbox, alertmanager, webhook};
use crate::clock::Clock;
use crate::ledger::Ledger;

/// Longest wait for a receiver.
const PATIENCE: Duration = Duration::from_secs(10);
/// Wait after the first failure; doubles each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest wait between attempts, also when a receiver asks for more.
const LONGEST_WAIT: Duration = Duration::from_hours(6);
/// A delivery is given up this long after its alert was raised.
const GIVE_UP: SignedDuration = SignedDuration::from_hours(72);
/// Most deliveries under way.
const AT_ONCE: usize = 64;
/// How often Alertmanagers are reminded.
const REMIND: Duration = Duration::from_mins(4);
/// Longest sleep; things due in between wake the task.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

#[derive(Clone)]
struct Deliverer {
    clock: Clock,
    ledger: Ledger,
    outbox: Outbox,
    catalog: watch::Receiver<Arc<Catalog>>,
    http: reqwest::Client,
}

/// One channel of one alert: the id, and the place among its deliveries.
type Way = (String, usize);

/// What one attempt came to.
enum Attempt {
    Done(u16),
    /// Worth another try, after this long if the receiver said so.
    Again {
        status: Option<u16>,
        error: String,
        after: Option<Duration>,
    },
    Never(String),
}

/// Starts the task.
pub(crate) fn start(
    clock: Clock,
    ledger: Ledger,
    outbox: Outbox,
    catalog: watch::Receiver<Arc<Catalog>>,
    shutdown: CancellationToken,
) -> Result<tokio::task::JoinHandle<()>, reqwest::Error> {
    let http = reqwest::Client::builder()
        .timeout(PATIENCE)
        .connect_timeout(Duration::from_secs(3))
        .redirect(reqwest::redirect::Policy::none())
        .user_agent("turnpike-alerts")
        .build()?;
    let deliverer = Deliverer { clock, ledger, outbox, catalog, http };
    Ok(tokio::spawn(deliverer.run(shutdown)))
}

impl Deliverer {
    async fn run(self, shutdown: CancellationToken) {
        let mut remind = tokio::time::interval(REMIND);
        remind.tick().await;
        let (mut running, mut under_way) = (JoinSet::new(), HashSet::<Way>::new());
        loop {
            let (due, next) = self.outbox.due(self.clock.wall(), |way| under_way.contains(way));
            // A receiver that hangs holds up nobody else, as long as few of them hang.
            for (alert, at) in due.into_iter().take(AT_ONCE.saturating_sub(under_way.len())) {
                under_way.insert((alert.id.clone(), at));
                let deliverer = self.clone();
                running.spawn(async move {
                    let attempt = deliverer.attempt(&alert, &alert.deliveries[at]).await;
                    ((alert.id, at), attempt)
                });
            }
            let sleep = next.map_or(LONGEST_SLEEP, |at| {
                Duration::try_from(at.duration_since(self.clock.wall()))
                    .unwrap_or_default()
                    .min(LONGEST_SLEEP)
            });
            tokio::select! {
                () = self.outbox.added() => {}
                Some(done) = running.join_next() => {
                    if let Ok((way, attempt)) = done {
                        under_way.remove(&way);
                        let now = self.clock.wall();
                        let changed = self.outbox.change(&way, |delivery, fired_at| outcome(delivery, attempt, fired_at, now));
                        self.note(changed.into_iter().collect(), Vec::new()).await;
                    }
                }
                () = tokio::time::sleep(sleep) => {}
                _ = remind.tick() => self.remind().await,
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Makes what happened durable. If that fails, the only harm is a repeated delivery after a restart.
    async fn note(&self, alerts: Vec<Alert>, forget: Vec<String>) {
        let ledger = self.ledger.clone();
        match tokio::task::spawn_blocking(move || ledger.update_alerts(&alerts, &forget)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "deliveries of alerts cannot be noted"),
            Err(error) => tracing::error!(%error, "deliveries of alerts were not noted"),
        }
    }

    async fn attempt(&self, alert: &Alert, delivery: &Delivery) -> Attempt {
        let catalog = self.catalog.borrow().clone();
        let channel = catalog.alerts.get(&delivery.rule).and_then(|rule| {
            rule.channels.iter().find(|channel| match channel {
                AlertChannel::Webhook { url, .. } => delivery.channel == "webhook" && *url == delivery.target,
                AlertChannel::Alertmanager { url } => {
                    delivery.channel == "alertmanager" && *url == delivery.target
                }
            })
        });
        match channel {
            Some(AlertChannel::Webhook { url, secret }) => self.webhook(alert, url, secret).await,
            Some(AlertChannel::Alertmanager { url }) => self.alertmanager(alert, url).await,
            // At start the catalog may not be read yet; later the channel is gone for good.
            None if catalog.format == 0 => Attempt::Again {
                status: None,
                error: "the catalog is not read yet".into(),
                after: Some(FIRST_WAIT),
            },
            None => Attempt::Never(format!("rule {} does not name this channel any more", delivery.rule)),
        }
    }

    async fn webhook(&self, alert: &Alert, url: &str, secret: &str) -> Attempt {
        let message = match webhook::message(alert, secret, self.clock.wall()) {
            Ok(message) => message,
            Err(error) => return Attempt::Never(error),
        };
        let request = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", &alert.id)
            .header("webhook-timestamp", message.timestamp)
            .header("webhook-signature", message.signature)
            .body(message.payload);
        send(request).await
    }

    async fn alertmanager(&self, alert: &Alert, url: &str) -> Attempt {
        send(self.http.post(alertmanager::url(url)).json(&alertmanager::body(alert))).await
    }

    /// Tells Alertmanagers again what stands, and drops what is long over.
    async fn remind(&self) {
        let now = self.clock.wall();
        for alert in self.outbox.standing(now) {
            for delivery in alert.deliveries.iter().filter(|delivery| delivery.channel == "alertmanager") {
                if let Attempt::Again { error, .. } = self.attempt(&alert, delivery).await {
                    tracing::warn!(target = delivery.target, error, "Alertmanager was not reminded");
                }
            }
        }
        let gone = self.outbox.forget(now);
        if !gone.is_empty() {
            self.note(Vec::new(), gone).await;
        }
    }
}

async fn send(request: reqwest::RequestBuilder) -> Attempt {
    match request.send().await {
        Ok(response) if response.status().is_success() => Attempt::Done(response.status().as_u16()),
        Ok(response) => {
            let status = response.status();
            let after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
            // Only the form in seconds: a date would trust the receiver's clock.
            let after = after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
            if status.as_u16() == 410 {
                return Attempt::Never("the receiver is gone for good (410)".into());
            }
            Attempt::Again { status: Some(status.as_u16()), error: format!("answered {status}"), after }
        }
        Err(error) if error.is_builder() => Attempt::Never(crate::store::chain(&error)),
        Err(error) => Attempt::Again { status: None, error: crate::store::chain(&error), after: None },
    }
}

/// Notes an attempt in its delivery.
fn outcome(delivery: &mut Delivery, attempt: Attempt, fired_at: Timestamp, now: Timestamp) {
    delivery.attempts += 1;
    delivery.next_attempt_at = None;
    match attempt {
        Attempt::Done(status) => {
            delivery.state = DeliveryState::Delivered;
            (delivery.status, delivery.error) = (Some(status), None);
            delivery.delivered_at = Some(now);
        }
        Attempt::Again { status, error, after } => {
            (delivery.status, delivery.error) = (status, Some(error));
            let wait = after.unwrap_or_default().max(backoff(delivery.attempts)).min(LONGEST_WAIT);
            let at = SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok());
            delivery.next_attempt_at = at.filter(|at| at.duration_since(fired_at) < GIVE_UP);
            if delivery.next_attempt_at.is_none() {
                delivery.state = DeliveryState::Failed;
            }
        }
        Attempt::Never(error) => {
            delivery.state = DeliveryState::Failed;
            delivery.error = Some(error);
        }
    }
}

/// Exponential, with a quarter of jitter so that receivers are not hit by all at once.
fn backoff(attempts: u32) -> Duration {
    let wait = FIRST_WAIT.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(LONGEST_WAIT);
    wait.mul_f64(rand::rng().random_range(0.75..1.25))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery() -> Delivery {
        super::super::tests::alert().deliveries.remove(0)
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn failures_wait_longer_and_end() {
        let fired = at("2026-11-23T12:00:00Z");
        let mut delivery = delivery();
        let again = || Attempt::Again { status: Some(503), error: "no".into(), after: None };
        outcome(&mut delivery, again(), fired, fired);
        let first = delivery.next_attempt_at.unwrap().duration_since(fired);
        assert!(
            first >= SignedDuration::from_millis(750) && first <= SignedDuration::from_millis(1_250),
            "{first}"
        );
        for _ in 0..8 {
            outcome(&mut delivery, again(), fired, fired);
        }
        assert!(delivery.next_attempt_at.unwrap().duration_since(fired) > SignedDuration::from_secs(100));
        outcome(&mut delivery, again(), fired, at("2026-11-26T11:59:00Z"));
        assert_eq!((delivery.state, delivery.next_attempt_at), (DeliveryState::Failed, None));
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_but_not_for_ever() {
        let fired = at("2026-11-23T12:00:00Z");
        for (asked, least, most) in [(60, 60, 60), (1_000_000, 21_600, 21_600), (0, 0, 2)] {
            let mut delivery = delivery();
            let after = Some(Duration::from_secs(asked));
            outcome(
                &mut delivery,
                Attempt::Again { status: Some(429), error: String::new(), after },
                fired,
                fired,
            );
            let wait = delivery.next_attempt_at.unwrap().duration_since(fired).as_secs();
            assert!((least..=most).contains(&wait), "{asked}: {wait}");
        }
    }
}
