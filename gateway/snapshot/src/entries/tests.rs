//! Sharing is seen by nobody, and hashes name content.

use std::sync::Arc;

use super::*;

fn entries(of: &[(&str, u32)]) -> Entries<u32> {
    of.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect()
}

#[test]
fn a_copy_is_its_own_once_it_is_changed() {
    let first = entries(&[("a", 1), ("b", 2)]);
    let before = first.hash();
    let mut second = first.clone();
    *second.get_mut("a").unwrap() = 3;
    assert_eq!((first.get("a"), second.get("a")), (Some(&1), Some(&3)));
    assert_eq!(first.hash(), before);
    assert_ne!(second.hash(), before);
    assert!(Arc::ptr_eq(&first.0["b"].0, &second.0["b"].0), "what did not change is shared");
    *second.get_mut("a").unwrap() = 1;
    assert_eq!((second.hash(), &second), (before, &first));
}

#[test]
fn a_hash_tells_keys_values_and_their_order_apart() {
    let all = [
        entries(&[]),
        entries(&[("a", 1)]),
        entries(&[("a", 2)]),
        entries(&[("b", 1)]),
        entries(&[("a", 1), ("b", 2)]),
        entries(&[("a", 2), ("b", 1)]),
        entries(&[("a", 1), ("bc", 2)]),
        entries(&[("ab", 1), ("c", 2)]),
    ];
    let hashes: std::collections::BTreeSet<u64> = all.iter().map(Entries::hash).collect();
    assert_eq!(hashes.len(), all.len());
}

#[test]
fn nothing_is_copied_when_all_are_kept() {
    let all = entries(&[("a", 1), ("b", 2)]);
    assert!(Arc::ptr_eq(&all.only(|_, _| true).0.0, &all.0.0));
    assert_eq!(all.only(|_, value| *value > 1), entries(&[("b", 2)]));
}
