//! Sharing is seen by nobody, and hashes name content.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

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
    let shared = |of: &Entries<u32>| Arc::clone(&of.get_shared("b").unwrap().0);
    assert!(Arc::ptr_eq(&shared(&first), &shared(&second)), "what did not change is shared");
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
    assert!(Arc::ptr_eq(&all.only(|_, _| true).0, &all.0));
    assert_eq!(all.only(|_, value| *value > 1), entries(&[("b", 2)]));
}

/// Changes in the order in which they are made: a value to put, or none to take the key out.
fn changes() -> impl Strategy<Value = Vec<(u16, Option<u32>)>> {
    proptest::collection::vec((0_u16..300, proptest::option::weighted(0.7, 0_u32..3)), 0..400)
}

fn change(entries: &mut Entries<u32>, model: &mut BTreeMap<Key, u32>, (key, value): (u16, Option<u32>)) {
    let key = format!("k{key}");
    if let Some(value) = value {
        entries.insert(key.clone(), value);
        model.insert(key, value);
    } else {
        entries.remove(&key);
        model.remove(&key);
    }
}

proptest! {
    #[test]
    fn entries_are_a_sorted_map_however_they_came_about(first in changes(), then in changes()) {
        let (mut entries, mut model) = (Entries::default(), BTreeMap::new());
        for one in first {
            change(&mut entries, &mut model, one);
        }
        let (before, was) = (entries.clone(), model.clone());
        for one in then {
            change(&mut entries, &mut model, one);
        }
        prop_assert!(entries.iter().eq(&model) && entries.len() == model.len());
        prop_assert!(before.iter().eq(&was), "a copy is its own");
        prop_assert!(entries.0.iter().all(|chunk| (1..=chunk::MOST).contains(&chunk.pairs().len())));
        let fresh: Entries<u32> = model.clone().into_iter().collect();
        prop_assert_eq!((&fresh, fresh.hash()), (&entries, entries.hash()));
        for key in 0..300 {
            let key = format!("k{key}");
            prop_assert_eq!(entries.get(&key), model.get(&key));
        }
        let differing: BTreeMap<_, _> = was.keys().chain(model.keys()).map(|key| (key, (was.get(key), model.get(key))))
            .filter(|(_, (was, is))| was != is).collect();
        for to in [&entries, &fresh] {
            let (put, drop) = before.difference(to);
            let is = |key: &&Key| differing[key].1;
            prop_assert!(put.iter().eq(differing.keys().filter_map(|key| Some((*key, is(key)?)))));
            prop_assert!(drop.iter().eq(differing.keys().filter(|key| is(key).is_none()).copied()));
        }
        let mut adopted = fresh.clone();
        adopted.adopt(&before);
        prop_assert_eq!(&adopted, &fresh);
    }
}

#[test]
fn of_several_entries_with_one_key_the_last_stays() {
    assert_eq!(entries(&[("b", 1), ("a", 2), ("b", 3), ("a", 4)]), entries(&[("a", 4), ("b", 3)]));
}
