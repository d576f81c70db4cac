use super::*;
use crate::fault::FaultFs;
use proptest::prelude::*;

const LOG: &str = "/names";

#[test]
fn ids_are_on_file_before_they_are_used() {
    let fs = FaultFs::new(1);
    let names = Names::create(&fs, Path::new(LOG)).unwrap();
    let ids: Vec<NameId> =
        ["a", "shop/orders", "", "a", OTHER].iter().map(|text| names.intern(text)).collect();
    assert_eq!(ids, [NameId(2), NameId(3), NameId::NONE, NameId(2), NameId::OTHER]);
    let again = Names::load(&fs, Path::new(LOG)).unwrap();
    for id in ids {
        assert_eq!(again.text(id), names.text(id));
    }
    assert_eq!(&*again.text(NameId(4)), UNKNOWN);
}

#[test]
fn a_full_disk_gives_other_and_says_so() {
    let fs = FaultFs::new(1);
    let names = Names::create(&fs, Path::new(LOG)).unwrap();
    names.intern("a");
    fs.set_space(Some(fs.used()));
    assert_eq!((names.intern("b"), names.intern("a"), names.refused()), (NameId::OTHER, NameId(2), 1));
    fs.set_space(None);
    assert_eq!(names.intern("b"), NameId(3));
}

#[test]
fn long_names_are_cut_at_a_character() {
    let fs = FaultFs::new(1);
    let names = Names::create(&fs, Path::new(LOG)).unwrap();
    let id = names.intern(&"é".repeat(200));
    assert_eq!(&*names.text(id), "é".repeat(128).as_str());
}

#[test]
fn many_threads_get_one_id_per_name() {
    let fs = FaultFs::new(1);
    let names = Names::create(&fs, Path::new(LOG)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..100).for_each(|i| _ = names.intern(&format!("n{i}"))));
        }
    });
    let again = Names::load(&fs, Path::new(LOG)).unwrap();
    for i in 0..100 {
        let id = names.intern(&format!("n{i}"));
        assert_eq!(&*again.text(id), format!("n{i}"));
    }
}

proptest! {
    #[test]
    fn hostile_logs_are_read_as_far_as_they_are_good(bytes in proptest::collection::vec(any::<u8>(), 0..200), good in ".{0,30}") {
        let log = [encode(&good), bytes].concat();
        let (text, rest) = decode(&log).unwrap();
        prop_assert_eq!(text, good.as_str());
        let mut rest = rest;
        while let Some((_, after)) = decode(rest) {
            prop_assert!(after.len() < rest.len());
            rest = after;
        }
    }
}
