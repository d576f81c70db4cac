//! One object: what it is, whether it is as it should be, and whether there is another one like it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::definition::{DEFINITIONS, Definition, Version};
use super::document::Document;
use super::locate::{Path, Step, locate};
use super::rules::Evaluator;
use super::suggest::nearest;
use super::tree::{self, Node, Place};
use super::validate::{Finding, complete, quoted, validate};
use super::{DEFAULT_NAMESPACE, Diagnostic, ObjectName, Origin, Resources, Severity};

/// Collects objects and problems.
#[derive(Default)]
pub(super) struct Reader {
    pub resources: Resources,
    pub diagnostics: Vec<Diagnostic>,
    evaluator: Evaluator,
    /// Every object so far, broken ones too: kind and name to place.
    seen: BTreeMap<(&'static str, ObjectName), Origin>,
}

/// An object on its way through the checks.
struct Draft<'a> {
    document: &'a Document<'a>,
    node: &'a Node,
    /// Kind and name for messages.
    title: Option<String>,
}

impl Reader {
    /// Reads a document: an object, or a List of them.
    pub(super) fn document(&mut self, document: &Document<'_>) {
        match tree::parse(document.text) {
            Err(error) => {
                let empty = Node { place: error.place, content: tree::Content::Scalar(Value::Null) };
                let draft = Draft { document, node: &empty, title: None };
                self.report(
                    &draft,
                    Severity::Error,
                    &Finding {
                        path: Path::default(),
                        problem: format!("not valid YAML: {}", error.problem),
                        cure: "the other documents of the file are not affected".to_owned(),
                    },
                );
            }
            Ok(node) if node.is_null() => {}
            Ok(node) => self.node(document, &node),
        }
    }

    fn node(&mut self, document: &Document<'_>, node: &Node) {
        let list = node.text("kind") == Some("List") && node.text("apiVersion") == Some("v1");
        if !list {
            return self.object(&Draft { document, node, title: title(node) });
        }
        let items = node.entry("items").map(|entry| entry.value.elements()).unwrap_or_default();
        for item in items {
            self.object(&Draft { document, node: item, title: title(item) });
        }
    }

    fn report(&mut self, draft: &Draft<'_>, severity: Severity, finding: &Finding) {
        let Place { line, column } = locate(draft.node, &finding.path);
        let path = finding.path.to_string();
        self.diagnostics.push(Diagnostic {
            severity,
            file: draft.document.file.to_owned(),
            line: line.max(1) + draft.document.lines_before,
            column,
            object: draft.title.clone(),
            field: (!path.is_empty()).then_some(path),
            problem: one_line(&finding.problem),
            cure: finding.cure.clone(),
        });
    }

    fn object(&mut self, draft: &Draft<'_>) {
        let Some((definition, version)) = self.definition(draft) else { return };
        let mut value = draft.node.to_json();
        let mut findings = Vec::new();
        let name = match object_name(definition, &value) {
            Ok(name) => {
                findings.extend(self.taken(definition, &name, draft));
                Some(name)
            }
            Err(finding) => {
                findings.push(finding);
                None
            }
        };
        findings.extend(self.check(version, &mut value));
        if let Some(name) = name.filter(|_| findings.is_empty()) {
            findings.extend(self.keep(definition, &name, origin(draft), value));
        }
        for finding in findings {
            self.report(draft, Severity::Error, &finding);
        }
    }

    /// Completes an object by its defaults and holds it against its schema, and then its rules.
    fn check(&self, version: &Version, value: &mut Value) -> Vec<Finding> {
        let (schema, rules) = version.parsed();
        drop_status(value);
        complete(schema, value);
        drop_status(value);
        let findings = validate(schema, value);
        if findings.is_empty() { rules.broken(&self.evaluator, value) } else { findings }
    }

    /// Adds an object; a finding when it does not fit its type although it fits its schema.
    fn keep(
        &mut self,
        definition: &Definition,
        name: &ObjectName,
        origin: Origin,
        mut value: Value,
    ) -> Option<Finding> {
        if let Value::Object(metadata) = &mut value["metadata"] {
            metadata.remove("namespace");
            if definition.namespaced {
                metadata.insert("namespace".to_owned(), name.namespace.clone().into());
            }
        }
        let inserted = self.resources.insert(&definition.kind, name.clone(), origin, value);
        if definition.kind == "Secret"
            && let Some(secret) = self.resources.secrets.get_mut(name)
        {
            Resources::merge_string_data(secret);
        }
        inserted.err().map(|error| finding(&[], format!("cannot be read: {error}"), ""))
    }

    /// Notes the name; a finding when it is taken.
    fn taken(
        &mut self,
        definition: &'static Definition,
        name: &ObjectName,
        draft: &Draft<'_>,
    ) -> Option<Finding> {
        let key = (definition.kind.as_str(), name.clone());
        if let Some(first) = self.seen.get(&key) {
            let problem = format!("there is already a {} {name}, at {first}", definition.kind);
            return Some(finding(
                &["metadata", "name"],
                problem,
                "rename or remove one of them; the first one counts",
            ));
        }
        self.seen.insert(key, origin(draft));
        None
    }

    /// The definition of the object's kind and version; reports what is not known.
    fn definition(&mut self, draft: &Draft<'_>) -> Option<(&'static Definition, &'static Version)> {
        let (severity, problem) = match lookup(draft.node) {
            Ok(found) => return Some(found),
            Err(problem) => problem,
        };
        self.report(draft, severity, &problem);
        None
    }
}

/// A message that may hold text of the user's, shortened and without control characters.
fn one_line(text: &str) -> String {
    text.chars().take(1_000).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// As by an API server, a status that a user writes is ignored; that of the schema's defaults is not for us.
fn drop_status(value: &mut Value) {
    if let Value::Object(map) = value {
        map.remove("status");
    }
}

fn finding(keys: &[&str], problem: impl Into<String>, cure: impl Into<String>) -> Finding {
    let path = Path(keys.iter().map(|key| Step::Key((*key).to_owned())).collect());
    Finding { path, problem: problem.into(), cure: cure.into() }
}

fn origin(draft: &Draft<'_>) -> Origin {
    let line = draft.node.place.line.max(1) + draft.document.lines_before;
    Origin { file: draft.document.file.to_owned(), line }
}

/// Kind and name for messages, as far as they can be read.
fn title(node: &Node) -> Option<String> {
    let short = |text: &str| text.chars().filter(|c| !c.is_control()).take(253).collect::<String>();
    let kind = node.text("kind")?;
    let metadata = node.entry("metadata").map(|entry| &entry.value);
    let Some(name) = metadata.and_then(|metadata| metadata.text("name")) else { return Some(short(kind)) };
    let clustered = DEFINITIONS.iter().any(|definition| definition.kind == kind && !definition.namespaced);
    let namespace = metadata.and_then(|metadata| metadata.text("namespace")).unwrap_or(DEFAULT_NAMESPACE);
    let scope = if clustered { String::new() } else { format!("{}/", short(namespace)) };
    Some(format!("{} {scope}{}", short(kind), short(name)))
}

/// Standard kinds that are not read in this version.
const LATER: &[(&str, &str)] = &[
    (crds::gateway_api::GROUP, "TCPRoute"),
    (crds::gateway_api::GROUP, "TLSRoute"),
    (crds::gateway_api::GROUP, "UDPRoute"),
    (crds::gateway_api::EXPERIMENTAL_GROUP, "XBackendTrafficPolicy"),
    (crds::gateway_api::EXPERIMENTAL_GROUP, "XMesh"),
    (crds::GROUP, "TrafficPolicy"),
    ("networking.k8s.io", "Ingress"),
];

type Known = (&'static Definition, &'static Version);

/// The definition of a node's kind and version.
fn lookup(node: &Node) -> Result<Known, (Severity, Finding)> {
    let error =
        |keys: &[&str], problem: String, cure: String| Err((Severity::Error, finding(keys, problem, cure)));
    if !matches!(node.content, tree::Content::Map(_)) {
        return error(
            &[],
            "not an object".into(),
            "an object is a map with apiVersion, kind and metadata".into(),
        );
    }
    let (Some(api_version), Some(kind)) = (node.text("apiVersion"), node.text("kind")) else {
        let missing = if node.text("kind").is_none() { "kind" } else { "apiVersion" };
        return error(&[], format!("the field {missing} is missing or not a string"), "add it".into());
    };
    let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
    let version = api_version.rsplit('/').next().unwrap_or_default();
    if let Some(definition) = DEFINITIONS.iter().find(|known| known.kind == kind && known.group == group) {
        return match definition.versions.get(version) {
            Some(known) => Ok((definition, known)),
            None => error(
                &["apiVersion"],
                format!("{kind} has no version {}", quoted(version)),
                format!("write {}", definition.api_versions().join(" or ")),
            ),
        };
    }
    unknown(group, kind)
}

/// An error when kind or group look like a slip of the pen or belong to a group of ours; otherwise a warning.
fn unknown(group: &str, kind: &str) -> Result<Known, (Severity, Finding)> {
    if let Some(same) = DEFINITIONS.iter().find(|known| known.kind == kind)
        && (nearest(group, [same.group.as_str()]).is_some() || group.is_empty())
    {
        let cure = format!("write {}", same.api_versions().join(" or "));
        let problem = format!("{kind} is not a kind of the group {}", quoted(group));
        return Err((Severity::Error, finding(&["apiVersion"], problem, cure)));
    }
    if LATER.contains(&(group, kind)) {
        let problem = format!("{kind} is not supported yet");
        return Err((Severity::Error, finding(&["kind"], problem, "it is left out")));
    }
    let siblings =
        || DEFINITIONS.iter().filter(|known| known.group == group).map(|known| known.kind.as_str());
    if let Some(word) = nearest(kind, siblings()) {
        let problem = format!("unknown kind {}", quoted(kind));
        return Err((Severity::Error, finding(&["kind"], problem, format!("did you mean {word}?"))));
    }
    let ours =
        [crds::GROUP, crds::gateway_api::GROUP, crds::gateway_api::EXPERIMENTAL_GROUP].contains(&group);
    let severity = if ours { Severity::Error } else { Severity::Warning };
    let cure = if ours {
        format!("kinds of this group are {}", siblings().collect::<Vec<_>>().join(", "))
    } else {
        "it is left out".to_owned()
    };
    let problem = format!("the kind {} of {} is not read here", quoted(kind), quoted(group));
    Err((severity, finding(&["kind"], problem, cure)))
}

/// Namespace and name of an object, or what is wrong with them.
fn object_name(definition: &Definition, value: &Value) -> Result<ObjectName, Finding> {
    let metadata = &value["metadata"];
    let Some(name) = metadata["name"].as_str() else {
        let keys: &[&str] = if metadata.is_object() { &["metadata"] } else { &[] };
        return Err(finding(keys, "metadata.name is missing or not a string", "give the object a name"));
    };
    if !is_dns_name(name, 253) {
        let problem = format!("{} is not a name", quoted(name));
        return Err(finding(&["metadata", "name"], problem, "use lower-case letters, digits, '-' and '.'"));
    }
    if !definition.namespaced {
        return Ok(ObjectName::new("", name));
    }
    let namespace = match &metadata["namespace"] {
        Value::Null => DEFAULT_NAMESPACE,
        namespace => namespace.as_str().unwrap_or_default(),
    };
    if !is_dns_name(namespace, 63) || namespace.contains('.') {
        let problem = format!("{} is not a namespace", quoted(namespace));
        return Err(finding(&["metadata", "namespace"], problem, "use lower-case letters, digits and '-'"));
    }
    Ok(ObjectName::new(namespace, name))
}

/// Whether a text is a DNS name in lower case (RFC 1123), as names of objects must be.
fn is_dns_name(text: &str, most: usize) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= most && text.split('.').all(label)
}
