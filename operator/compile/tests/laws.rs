//! What holds for every compilation: order does not matter, versions name content, secrets stay where they belong.
#![allow(clippy::unwrap_used, reason = "a broken case must stop the test")]

mod case;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use case::{Case, cases};
use operator_compile::resources::{self, Resources};
use operator_compile::{Compiler, Options, compile, render};

#[test]
fn the_order_of_documents_does_not_matter() {
    for Case { path, options, .. } in cases() {
        let text = fs::read_to_string(path.join("in.yaml")).unwrap();
        let files = |reverse: bool| {
            let mut documents: Vec<(String, String)> = text
                .split("---\n")
                .enumerate()
                .map(|(at, text)| (format!("{at}.yaml"), text.to_owned()))
                .collect();
            if reverse {
                documents.reverse();
            }
            documents
        };
        let forward = compile(&resources::read(&files(false)).0, &options);
        let backward = compile(&resources::read(&files(true)).0, &options);
        assert_eq!(forward, backward, "{}", path.display());
    }
}

#[test]
fn versions_name_content() {
    let mut seen = BTreeMap::new();
    for Case { path, resources, options, .. } in cases() {
        let compiled = compile(&resources, &options);
        let snapshots = compiled.fleets.iter().map(|fleet| &*fleet.snapshot).chain([&compiled.snapshot]);
        let named = snapshots.map(|snapshot| (&snapshot.version, serde_json::to_string(snapshot).unwrap()));
        let catalog = (&compiled.catalog.version, serde_json::to_string(&compiled.catalog).unwrap());
        for (version, content) in named.chain([catalog]) {
            let other = seen.insert(version.clone(), content.clone());
            assert!(other.is_none_or(|other| other == content), "{}", path.display());
        }
    }
    assert!(seen.len() > 20);
}

/// Each object of each case is taken away and put back, by a compiler that has seen all the cases before; then it comes back
/// together with another change, and goes again.
#[test]
fn what_a_compiler_remembers_changes_no_outcome() {
    let mut compiler = Compiler::default();
    // Statuses do not follow each change.
    let mut check = |resources: &Resources, options: &Options, told: bool, what: &str| {
        let fresh = compile(resources, options);
        let served = compiler.serve(resources, options);
        assert!(served.0 == fresh.fleets && served.1 == fresh.catalog, "{what}");
        if told {
            assert_eq!(compiler.compile(resources, options), fresh, "{what}");
        }
    };
    for Case { path, mut resources, options, .. } in cases() {
        let objects = case::objects(&resources);
        let Some((other_kind, other, other_raw)) = objects.last() else { continue };
        for (kind, name, raw) in &objects {
            let what = format!("{} without {kind} {name}", path.display());
            case::take(&mut resources, kind, name);
            check(&resources, &options, true, &what);
            case::take(&mut resources, other_kind, other);
            assert!(case::put(&mut resources, kind, name, raw));
            check(&resources, &options, false, &format!("{what}, but without {other_kind} {other}"));
            case::take(&mut resources, kind, name);
            check(&resources, &options, true, &format!("{what} and {other_kind} {other}"));
            assert!(case::put(&mut resources, kind, name, raw));
            assert!(case::put(&mut resources, other_kind, other, other_raw));
            check(&resources, &options, true, &format!("{what}, which is back"));
        }
    }
}

#[test]
fn what_nobody_uses_changes_no_version() {
    let case = cases().into_iter().find(|case| case.path.ends_with("shop")).unwrap();
    let before = compile(&case.resources, &case.options);
    let mut changed = case.resources.clone();
    let (name, secret) =
        changed.secrets.iter().next().map(|(name, secret)| (name.clone(), secret.clone())).unwrap();
    changed.secrets.insert(resources::ObjectName::new(name.namespace, "unused"), secret);
    assert_eq!(before.snapshot, compile(&changed, &case.options).snapshot);
    let consumer = changed.consumers.values_mut().next().unwrap();
    consumer.spec.disabled = true;
    assert_ne!(before.snapshot.version, compile(&changed, &case.options).snapshot.version);
}

#[test]
fn no_secret_reaches_a_line_for_people() {
    for Case { path, resources, options, lines } in cases() {
        let compiled = compile(&resources, &options);
        let mut text = render(&compiled.statuses).join("\n");
        for line in lines.iter().chain(&compiled.diagnostics) {
            text.push_str(&line.to_string());
        }
        write!(text, "{:?} {:?}", compiled.snapshot, compiled.catalog).unwrap();
        for secret in resources.secrets.values() {
            for (entry, value) in secret.data.iter().flatten() {
                let value = String::from_utf8_lossy(&value.0);
                let value = value.trim();
                // Certificates and hashes are no secrets; short words stand in messages by chance.
                if matches!(entry.as_str(), "tls.crt" | "ca.crt") || value.len() < 16 || value.len() == 64 {
                    continue;
                }
                assert!(!text.contains(value), "{}: entry {entry} is in a message", path.display());
            }
        }
    }
}
