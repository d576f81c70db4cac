//! Standard Webhooks 1.0: body and signature.
//!
//! In: an alert and the channel's secrets. Out: headers and payload. Several secrets, separated by spaces, give several
//! signatures, so that a receiver can change from one to the next. The payload is below 20 kB as the specification asks.

use jiff::Timestamp;
use serde_json::json;
use standardwebhooks::Webhook;

use super::{Alert, Kind};

/// What is sent.
#[derive(Debug)]
pub(super) struct Message {
    /// `webhook-timestamp`, seconds since 1970.
    pub timestamp: i64,
    /// `webhook-signature`.
    pub signature: String,
    /// The body.
    pub payload: Vec<u8>,
}

/// Signs `alert` with each of `secrets`, at `now`.
pub(super) fn message(alert: &Alert, secrets: &str, now: Timestamp) -> Result<Message, String> {
    let payload = payload(alert);
    let timestamp = now.as_second();
    let mut signatures = Vec::new();
    for secret in secrets.split_whitespace() {
        let signer =
            Webhook::new(secret).map_err(|_| "the channel's secret is not `whsec_` and base64".to_owned())?;
        signatures.push(signer.sign(&alert.id, timestamp, &payload).map_err(|error| error.to_string())?);
    }
    if signatures.is_empty() {
        return Err("the channel has no secret to sign with".into());
    }
    Ok(Message { timestamp, signature: signatures.join(" "), payload })
}

fn payload(alert: &Alert) -> Vec<u8> {
    let kind = match alert.kind {
        Kind::Threshold => "quota.threshold",
        Kind::Forecast => "quota.forecast",
    };
    let mut data = serde_json::to_value(alert).expect("an alert is plain data");
    if let Some(fields) = data.as_object_mut() {
        fields.remove("deliveries");
        fields.remove("rules");
    }
    let body = json!({ "type": kind, "timestamp": alert.fired_at, "data": data });
    serde_json::to_vec(&body).expect("a JSON value can be written")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_secret_signs_and_the_verifier_agrees() {
        let alert = super::super::tests::alert();
        let (old, new) = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        let message = message(&alert, &format!("{old} {new}"), Timestamp::now()).unwrap();
        assert_eq!(message.signature.split(' ').count(), 2);
        assert!(message.payload.len() < 20_000);
        let mut headers = http::HeaderMap::new();
        headers.insert("webhook-id", alert.id.parse().unwrap());
        headers.insert("webhook-timestamp", message.timestamp.to_string().parse().unwrap());
        headers.insert("webhook-signature", message.signature.parse().unwrap());
        for secret in [old, new] {
            Webhook::new(secret).unwrap().verify(&message.payload, &headers).unwrap();
        }
        let other = Webhook::new("whsec_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB").unwrap();
        assert!(other.verify(&message.payload, &headers).is_err());
    }

    #[test]
    fn a_bad_secret_is_said() {
        let alert = super::super::tests::alert();
        assert!(message(&alert, "", Timestamp::now()).unwrap_err().contains("no secret"));
        assert!(message(&alert, "whsec_***", Timestamp::now()).unwrap_err().contains("base64"));
    }
}
