//! Events: what people see at the end of `kubectl describe`.

use crds::k8s_openapi::api::core::v1::ObjectReference;
use kube::api::ApiResource;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use operator_compile::resources::ObjectName;

/// Something to tell once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// One word.
    pub(crate) reason: &'static str,
    /// What was being done.
    pub(crate) action: &'static str,
    pub(crate) text: String,
}

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

    /// Warns. What cannot be written is only logged: conditions say the same.
    pub(crate) async fn warn(&self, api: &ApiResource, object: &ObjectName, uid: &str, notices: &[Notice]) {
        let kind = &api.kind;
        let about = ObjectReference {
            api_version: Some(api.api_version.clone()),
            kind: Some(kind.clone()),
            namespace: Some(object.namespace.clone()),
            name: Some(object.name.clone()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        for Notice { reason, action, text } in notices {
            let event = Event {
                type_: EventType::Warning,
                reason: (*reason).to_owned(),
                note: Some(text.clone()),
                action: (*action).to_owned(),
                secondary: None,
            };
            if let Err(error) = self.recorder.publish(&event, &about).await {
                tracing::warn!(kind, %object, %error, "an Event cannot be written");
            }
        }
    }
}
