//! The committed YAML of our kinds equals what the Rust types say.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::Value;

/// Limits are floating-point numbers in the types of definitions; whole ones are written as people do.
fn write_integers(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(write_integers),
        Value::Array(items) => items.iter_mut().for_each(write_integers),
        Value::Number(number) => {
            if let Some(whole) = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 9e15) {
                *value = Value::from(whole as i64);
            }
        }
        _ => {}
    }
}

/// `UPDATE_GOLDEN=1` rewrites the files instead.
#[test]
fn committed_definitions_are_generated_ones() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("yaml");
    let mut stale = String::new();
    let mut expected = Vec::new();
    for definition in crds::definitions() {
        let name = format!("{}.yaml", definition.spec.names.plural);
        let mut text =
            "# Generated from crds/src; do not edit. UPDATE_GOLDEN=1 cargo test -p crds\n".to_owned();
        let mut value = serde_json::to_value(&definition).unwrap();
        write_integers(&mut value);
        text += &serde_saphyr::to_string(&value).unwrap();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(folder.join(&name), text).unwrap();
        } else if std::fs::read_to_string(folder.join(&name)).unwrap_or_default() != text {
            writeln!(stale, "{name}").unwrap();
        }
        expected.push(name);
    }
    assert!(stale.is_empty(), "not up to date, run UPDATE_GOLDEN=1 cargo test -p crds:\n{stale}");
    let embedded: Vec<&str> = crds::DEFINITIONS.iter().map(|(name, _)| *name).collect();
    assert_eq!(embedded, expected, "the list in crds/src/definitions.rs");
}
