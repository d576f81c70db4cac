//! Our status and the one that is there → the one to write.
//!
//! Other controllers' entries and conditions stay as they are; the time of a condition changes when its truth does
//! (KEP-1623). Pure: the present is given.

use crds::conditions::ConditionType;
use operator_compile::{Condition, ListenerStatus, ParentStatus, Status, Truth};
use serde_json::{Map, Value, json};

/// Conditions of ours that stay while nothing is known about them.
const KEPT: [ConditionType; 2] = [ConditionType::QuotaNearLimit, ConditionType::QuotaExceeded];

/// Who writes, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writer<'a> {
    /// `controllerName` of our entries.
    pub(crate) controller: &'a str,
    /// The present (RFC 3339, seconds).
    pub(crate) now: &'a str,
}

/// The fields of the status that we own, merged with `live`: a JSON merge patch of the status (RFC 7396).
pub(crate) fn merged(writer: Writer<'_>, ours: &Status, live: &Value) -> Map<String, Value> {
    let mut out = Map::new();
    let generation = ours.generation;
    if !ours.conditions.is_empty() {
        let conditions = conditions(writer, &ours.conditions, generation, &live["conditions"]);
        out.insert("conditions".to_owned(), conditions);
    }
    if !ours.listeners.is_empty() {
        let listeners = ours.listeners.iter().map(|listener| {
            let there = find(&live["listeners"], |there| there["name"] == listener.name.as_str());
            of_listener(writer, listener, generation, there)
        });
        out.insert("listeners".to_owned(), listeners.collect());
    }
    if let Some(count) = ours.attached_listener_sets {
        out.insert("attachedListenerSets".to_owned(), count.into());
    }
    for (list, entry, ours) in
        [("parents", "parentRef", &ours.parents), ("ancestors", "ancestorRef", &ours.ancestors)]
    {
        let there = live[list].as_array().map_or(&[][..], Vec::as_slice);
        let is_ours = |there: &&Value| there["controllerName"] == writer.controller;
        if ours.is_empty() && !there.iter().any(|there| is_ours(&there)) {
            continue;
        }
        let mut merged: Vec<Value> = there.iter().filter(|there| !is_ours(there)).cloned().collect();
        merged.extend(ours.iter().map(|ours| of_parent(writer, ours, entry, generation, there)));
        out.insert(list.to_owned(), merged.into());
    }
    out
}

fn find(list: &Value, wanted: impl Fn(&Value) -> bool) -> &Value {
    list.as_array().into_iter().flatten().find(|there| wanted(there)).unwrap_or(&Value::Null)
}

fn of_parent(
    writer: Writer<'_>,
    ours: &ParentStatus,
    entry: &str,
    generation: Option<i64>,
    there: &[Value],
) -> Value {
    let reference = serde_json::to_value(&ours.parent).expect("a reference is plain data");
    let there = there
        .iter()
        .find(|there| there["controllerName"] == writer.controller && there[entry] == reference)
        .unwrap_or(&Value::Null);
    json!({
        entry: reference,
        "controllerName": writer.controller,
        "conditions": conditions(writer, &ours.conditions, generation, &there["conditions"]),
    })
}

fn of_listener(writer: Writer<'_>, ours: &ListenerStatus, generation: Option<i64>, there: &Value) -> Value {
    let kinds: Vec<Value> = ours
        .supported_kinds
        .iter()
        .map(|kind| json!({"group": crds::gateway_api::GROUP, "kind": kind}))
        .collect();
    json!({
        "name": ours.name,
        "supportedKinds": kinds,
        "attachedRoutes": ours.attached_routes,
        "conditions": conditions(writer, &ours.conditions, generation, &there["conditions"]),
    })
}

/// Ours in our order, then those that are others'.
fn conditions(writer: Writer<'_>, ours: &[Condition], generation: Option<i64>, live: &Value) -> Value {
    let mut out: Vec<Value> = Vec::with_capacity(ours.len());
    for condition in ours {
        let kind = condition.kind.as_str();
        let there = find(live, |there| there["type"] == kind);
        let status = match condition.status {
            Truth::True => "True",
            Truth::False => "False",
            Truth::Unknown => "Unknown",
        };
        let since = there["lastTransitionTime"].as_str().filter(|_| there["status"] == status);
        let mut value = json!({
            "type": kind,
            "status": status,
            "reason": condition.reason.as_str(),
            "message": condition.message,
            "lastTransitionTime": since.unwrap_or(writer.now),
        });
        if let Some(generation) = generation {
            value["observedGeneration"] = generation.into();
        }
        out.push(value);
    }
    let words = ConditionType::ALL.iter().filter(|word| !KEPT.contains(word) || given(ours, **word));
    let is_ours = |kind: &Value| words.clone().any(|word| kind == word.as_str());
    let others = live.as_array().into_iter().flatten().filter(|there| !is_ours(&there["type"]));
    out.extend(others.cloned());
    out.into()
}

fn given(conditions: &[Condition], kind: ConditionType) -> bool {
    conditions.iter().any(|condition| condition.kind == kind)
}

#[cfg(test)]
mod tests;
