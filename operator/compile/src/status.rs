//! Statuses as the compiler derives them: what to say about each object, without times.
//!
//! The shell merges them with what is there already (transition times, other controllers' entries) and turns
//! `Programmed: Unknown` into `True` once every gateway has acknowledged the snapshot.

use crds::conditions::{ConditionType, Reason};
use serde::Serialize;

use crate::problem::{Problem, joined};

/// Longest message of a condition that an API server accepts, in bytes.
const MAX_MESSAGE: usize = 32_768;

/// Truth of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Truth {
    /// Holds.
    True,
    /// Does not hold.
    False,
    /// Will be known when the gateways answer.
    Unknown,
}

/// One condition; `observedGeneration` is the status's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// `type`.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// `status`.
    pub status: Truth,
    /// `reason`.
    pub reason: Reason,
    /// For people: the field, what is wrong, and the cure.
    pub message: String,
}

impl Condition {
    /// A condition that holds.
    pub(crate) fn yes(kind: ConditionType, reason: Reason) -> Self {
        Self { kind, status: Truth::True, reason, message: String::new() }
    }

    /// A condition that does not hold.
    pub(crate) fn no(kind: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { kind, status: Truth::False, reason, message: bounded(message.into()) }
    }

    /// The same with a message.
    pub(crate) fn saying(mut self, message: impl Into<String>) -> Self {
        self.message = bounded(message.into());
        self
    }

    /// `Accepted: True`.
    pub(crate) fn accepted() -> Self {
        Self::yes(ConditionType::Accepted, Reason::Accepted)
    }

    /// `ResolvedRefs`: true without problems, otherwise false for the first one's reason and all messages.
    pub(crate) fn resolved_refs(problems: &[Problem]) -> Self {
        match problems.first() {
            None => Self::yes(ConditionType::ResolvedRefs, Reason::ResolvedRefs),
            Some(first) => Self::no(ConditionType::ResolvedRefs, first.reason, joined(problems)),
        }
    }

    /// `Accepted`: true without problem, otherwise false.
    pub(crate) fn accepted_unless(problem: Option<&Problem>) -> Self {
        match problem {
            None => Self::accepted(),
            Some(problem) => Self::no(ConditionType::Accepted, problem.reason, problem.message.clone()),
        }
    }

    /// `Programmed`: to be answered by the gateways, or false when there is nothing to serve.
    pub(crate) fn programmed(servable: bool) -> Self {
        if servable {
            let message = "waits for the gateways to acknowledge";
            let kind = ConditionType::Programmed;
            Self { kind, status: Truth::Unknown, reason: Reason::Pending, message: message.into() }
        } else {
            Self::no(ConditionType::Programmed, Reason::Invalid, "not valid, see the other conditions")
        }
    }

    /// Whether this is bad news: something that ought to hold does not, or the other way round.
    pub fn is_bad(&self) -> bool {
        let good = match self.kind {
            ConditionType::Conflicted
            | ConditionType::OverlappingTLSConfig
            | ConditionType::PartiallyInvalid
            | ConditionType::QuotaExceeded
            | ConditionType::QuotaNearLimit => Truth::False,
            _ => Truth::True,
        };
        self.status != good && self.status != Truth::Unknown
    }
}

fn bounded(mut message: String) -> String {
    if message.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE - 3).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    message
}

/// What to say about one object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// `metadata.generation` that this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// On the object itself (GatewayClass, Gateway, ListenerSet, our kinds).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Of a Gateway or ListenerSet, in the order of its spec.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ListenerStatus>,
    /// Of a route, in the order of its `parentRefs`: only those that are ours.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<ParentStatus>,
    /// Of a policy (GEP-713).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<ParentStatus>,
    /// Of a Gateway: ListenerSets that it took in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached_listener_sets: Option<u32>,
}

impl Status {
    /// A status with conditions on the object itself.
    pub(crate) fn of(generation: Option<i64>, conditions: Vec<Condition>) -> Self {
        Self { generation, conditions, ..Self::default() }
    }

    /// Every condition in it, wherever it stands, with the part that it is about (`listener web`, `parent ns/gw`).
    pub fn all_conditions(&self) -> impl Iterator<Item = (String, &Condition)> {
        let own = self.conditions.iter().map(|condition| (String::new(), condition));
        let listeners = self.listeners.iter().flat_map(|listener| {
            listener.conditions.iter().map(|condition| (format!("listener {}", listener.name), condition))
        });
        let parents = self.parents.iter().chain(&self.ancestors).flat_map(|parent| {
            parent.conditions.iter().map(|condition| (parent.parent.to_string(), condition))
        });
        own.chain(listeners).chain(parents)
    }
}

/// Status of one listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// Kinds of routes that it takes.
    pub supported_kinds: Vec<&'static str>,
    /// Accepted routes that are attached.
    pub attached_routes: u32,
    /// On the listener.
    pub conditions: Vec<Condition>,
}

/// A parent of a route or ancestor of a policy, as the resource writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// API group, when written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Kind, when written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Namespace, when written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Listener or other part, when written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub section_name: Option<String>,
    /// Port, when written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
}

impl std::fmt::Display for ParentRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.kind.as_deref().unwrap_or("Gateway"))?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)?;
        if let Some(section) = &self.section_name {
            write!(f, " section {section}")?;
        }
        self.port.map_or(Ok(()), |port| write!(f, " port {port}"))
    }
}

/// Status of a route towards one parent, or of a policy towards one ancestor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParentStatus {
    /// Which one.
    pub parent: ParentRef,
    /// On the relation.
    pub conditions: Vec<Condition>,
}
