//! Events: what people see at the end of `kubectl describe`.

use crds::k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use operator_compile::resources::ObjectName;

use crate::usage::Crossing;

/// Writes Events in the operator's name.
pub(crate) struct Events {
    recorder: Recorder,
}

impl Events {
    /// `controller` and `replica`: who reports.
    pub(crate) fn new(client: kube::Client, controller: &str, replica: &str) -> Self {
        let reporter = Reporter { controller: controller.to_owned(), instance: Some(replica.to_owned()) };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// Tells of crossed thresholds. What cannot be written is only logged: conditions say the same.
    pub(crate) async fn crossed(&self, kind: &str, object: &ObjectName, uid: &str, crossings: &[Crossing]) {
        let about = ObjectReference {
            api_version: Some("turnpike.dev/v1alpha1".to_owned()),
            kind: Some(kind.to_owned()),
            namespace: Some(object.namespace.clone()),
            name: Some(object.name.clone()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        for Crossing { reason, note } in crossings {
            let event = Event {
                type_: EventType::Warning,
                reason: reason.to_string(),
                note: Some(note.clone()),
                action: "Metering".to_owned(),
                secondary: None,
            };
            if let Err(error) = self.recorder.publish(&event, &about).await {
                tracing::warn!(kind, %object, %error, "an Event cannot be written");
            }
        }
    }
}
