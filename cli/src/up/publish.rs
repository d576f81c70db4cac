//! Folder → resources → compile → files that gateway and analytics watch, and the gateway's answer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use gateway_snapshot::{Catalog, Snapshot};
use operator_compile::resources::{Diagnostic, ObjectName, Resources, read};
use operator_compile::{Compiled, Options, compile};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::certificates::DevelopmentCa;
use super::folder::{self, Files};
use crate::state::{State, write_private};

/// A Gateway with this annotation gets certificates of the development CA.
const ISSUER: &str = "turnpike.dev/issuer";
/// How long a gateway may take to accept or refuse a snapshot.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Turns the folder into a snapshot, again and again.
#[derive(Debug)]
pub(crate) struct Publisher {
    folder: PathBuf,
    state: State,
    ca: DevelopmentCa,
    /// The newest content of each file that was accepted as a whole.
    good: Files,
    published: Option<String>,
    catalog: Vec<u8>,
}

/// What came of one look at the folder.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// One line for each mistake, with file, line and cure.
    pub(crate) problems: Vec<String>,
    /// Files whose former content stays in force.
    pub(crate) kept: Vec<String>,
    /// The version to serve, when it is another one.
    pub(crate) version: Option<String>,
    /// Whether what analytics alone needs to know has changed: alerts, prices, names.
    pub(crate) catalog: bool,
    /// Listeners, routes and consumers in it.
    pub(crate) summary: String,
}

/// A gateway's answer to a snapshot.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    version: String,
    /// Whether it serves this version.
    pub(crate) accepted: bool,
    /// Why not.
    #[serde(default)]
    pub(crate) errors: Vec<String>,
}

impl Publisher {
    pub(crate) fn new(folder: PathBuf, state: State) -> anyhow::Result<Self> {
        let ca = DevelopmentCa::open(&state.path("ca"), SystemTime::now())?;
        Ok(Self { folder, state, ca, good: Files::new(), published: None, catalog: Vec::new() })
    }

    pub(crate) fn snapshot_path(&self) -> PathBuf {
        self.state.path("snapshot.json")
    }

    pub(crate) fn catalog_path(&self) -> PathBuf {
        self.state.path("catalog.json")
    }

    /// Reads, compiles, and writes what changed.
    pub(crate) fn publish(&mut self) -> anyhow::Result<Outcome> {
        let reading = folder::read(&self.folder)?;
        let mut problems = reading.problems;
        let (files, kept, refused) = self.in_force(reading.files);
        problems.extend(refused.iter().map(ToString::to_string));
        let mut texts: Vec<(String, String)> = files.into_iter().collect();
        let (resources, _) = read(&texts);
        texts.extend(self.development_secrets(&resources)?);
        let (resources, diagnostics) = read(&texts);
        problems.extend(diagnostics.iter().map(ToString::to_string));
        let now = i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs())?;
        let compiled = compile(&resources, &Options { now: Some(now), ..Options::default() });
        problems.extend(compiled.diagnostics.iter().map(ToString::to_string));
        let catalog = self.write_catalog(&compiled.catalog)?;
        let version = self.write(&compiled)?;
        Ok(Outcome { problems, kept, version, catalog, summary: summary(&compiled) })
    }

    /// For each file its new content, or the former one where the new one is refused.
    fn in_force(&mut self, files: Files) -> (Files, Vec<String>, Vec<Diagnostic>) {
        let mut refused = Vec::new();
        let mut kept = Vec::new();
        let mut force = Files::new();
        for (name, text) in files {
            let (_, diagnostics) = read(&[(name.clone(), text.clone())]);
            match self.good.get(&name) {
                Some(former) if !diagnostics.is_empty() => {
                    force.insert(name.clone(), former.clone());
                    refused.extend(diagnostics);
                    kept.push(name);
                }
                _ => drop(force.insert(name, text)),
            }
        }
        self.good.clone_from(&force);
        (force, kept, refused)
    }

    /// Secrets that Gateways ask of the development CA and that nobody wrote.
    fn development_secrets(&self, resources: &Resources) -> anyhow::Result<Vec<(String, String)>> {
        let mut hosts: BTreeMap<ObjectName, BTreeSet<String>> = BTreeMap::new();
        for (name, gateway) in &resources.gateways {
            let annotations = gateway.metadata.annotations.as_ref();
            if annotations.and_then(|all| all.get(ISSUER)).is_none_or(|issuer| issuer != "development") {
                continue;
            }
            for listener in &gateway.spec.listeners {
                let host = listener.hostname.clone().unwrap_or_else(|| "localhost".to_owned());
                for reference in listener.tls.iter().flat_map(|tls| &tls.certificate_refs) {
                    let namespace = reference.namespace.clone().unwrap_or_else(|| name.namespace.clone());
                    let secret = ObjectName { namespace, name: reference.name.clone() };
                    if !resources.secrets.contains_key(&secret) {
                        hosts.entry(secret).or_default().insert(host.clone());
                    }
                }
            }
        }
        hosts
            .into_iter()
            .map(|(secret, hosts)| {
                let hosts: Vec<String> = hosts.into_iter().collect();
                let yaml = self.ca.secret(&secret.namespace, &secret.name, &hosts, SystemTime::now())?;
                Ok((format!("(development CA: Secret {secret})"), yaml))
            })
            .collect()
    }

    fn write_catalog(&mut self, catalog: &Catalog) -> anyhow::Result<bool> {
        let text = serde_json::to_vec(catalog)?;
        if text == self.catalog {
            return Ok(false);
        }
        write_private(&self.catalog_path(), &text)?;
        self.catalog = text;
        Ok(true)
    }

    fn write(&mut self, compiled: &Compiled) -> anyhow::Result<Option<String>> {
        let version = &compiled.snapshot.version;
        if self.published.as_ref() == Some(version) {
            return Ok(None);
        }
        write_private(&self.snapshot_path(), &serde_json::to_vec(&compiled.snapshot)?)?;
        self.published = Some(version.clone());
        Ok(Some(version.clone()))
    }

    /// Waits for the gateway's answer to `version`.
    pub(crate) async fn answer(&self, version: &str) -> anyhow::Result<Answer> {
        let path = PathBuf::from(format!("{}.ack.json", self.snapshot_path().display()));
        let deadline = Instant::now() + ANSWER_WITHIN;
        loop {
            if let Ok(text) = tokio::fs::read(&path).await
                && let Ok(answer) = serde_json::from_slice::<Answer>(&text)
                && answer.version == version
            {
                return Ok(answer);
            }
            if Instant::now() > deadline {
                anyhow::bail!("the gateway did not answer to version {version} within {ANSWER_WITHIN:?}");
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

fn summary(compiled: &Compiled) -> String {
    let snapshot = &compiled.snapshot;
    let counts = [
        ("listener", "listeners", snapshot.listeners.len()),
        ("route", "routes", snapshot.routes.len()),
        ("consumer", "consumers", snapshot.consumers.len()),
        ("subscription", "subscriptions", snapshot.subscriptions.len()),
        ("alert policy", "alert policies", compiled.catalog.alerts.len()),
    ];
    counts.map(|(one, many, count)| format!("{count} {}", if count == 1 { one } else { many })).join(", ")
}

/// A folder, compiled once and not served.
#[derive(Debug)]
pub(crate) struct CompiledFolder {
    pub(crate) snapshot: Snapshot,
    /// One line for each mistake.
    pub(crate) problems: Vec<String>,
}

/// Compiles `folder` as `up` would, without writing anything outside a temporary folder.
pub(crate) fn compile_folder(folder: &Path) -> anyhow::Result<CompiledFolder> {
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let mut publisher = Publisher::new(folder.to_path_buf(), State::create(scratch.path())?)?;
    let outcome = publisher.publish()?;
    let snapshot = serde_json::from_slice(&std::fs::read(publisher.snapshot_path())?)?;
    Ok(CompiledFolder { snapshot, problems: outcome.problems })
}
