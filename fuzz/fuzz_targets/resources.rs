//! YAML from anybody: it is read, compiled, and what comes out is a snapshot that every gateway takes.
#![no_main]

use fuzz::{NOW_S, prepare};
use libfuzzer_sys::fuzz_target;
use operator_compile::resources::read;
use operator_compile::{Options, compile};

fuzz_target!(|text: &str| {
    let (resources, diagnostics) = read(&[("fuzz.yaml".to_owned(), text.to_owned())]);
    for diagnostic in &diagnostics {
        assert!(!diagnostic.to_string().is_empty());
    }
    let options = Options { now: Some(NOW_S), ..Options::default() };
    let compiled = compile(&resources, &options);
    if let Err(findings) = prepare(&compiled.snapshot) {
        panic!("compiled to a snapshot that gateways refuse: {findings:?}");
    }
    assert_eq!(compiled.snapshot, compile(&resources, &options).snapshot, "compiling twice gives the same");
});
