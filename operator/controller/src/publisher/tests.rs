use super::*;

const FLEET: &str = "shop/web";

fn snapshot(version: &str) -> Arc<Snapshot> {
    Arc::new(Snapshot { version: version.to_owned(), ..Snapshot::default() })
}

fn of_web(generation: i64) -> Generations {
    [(ObjectName::new("shop", "web"), generation)].into()
}

fn accepted(version: &str) -> Answer {
    Answer { version: version.to_owned(), accepted: true, errors: vec![] }
}

fn generation(publisher: &Publisher) -> Option<i64> {
    publisher.serving(FLEET)["pod"].generations.get(&ObjectName::new("shop", "web")).copied()
}

#[test]
fn a_replica_serves_the_generation_whose_version_it_accepted_last() {
    let publisher = Publisher::default();
    publisher.publish(FLEET, &snapshot("a"), of_web(1));
    publisher.joined(FLEET, "pod", 7);
    assert_eq!(generation(&publisher), None, "it has not said anything");
    publisher.answered(FLEET, "pod", 7, accepted("a"));
    assert_eq!(generation(&publisher), Some(1));
    // A change of the Gateway that changes nothing for its gateways.
    publisher.publish(FLEET, &snapshot("a"), of_web(2));
    assert_eq!(generation(&publisher), Some(2));
    publisher.publish(FLEET, &snapshot("b"), of_web(3));
    assert_eq!(generation(&publisher), Some(2), "what is on its way does not count");
    let refusal = Answer { version: "b".to_owned(), accepted: false, errors: vec!["no".to_owned()] };
    publisher.answered(FLEET, "pod", 7, refusal);
    assert_eq!(
        (generation(&publisher), &publisher.serving(FLEET)["pod"].complaints[..]),
        (Some(2), &["no".to_owned()][..])
    );
    publisher.answered(FLEET, "pod", 7, accepted("b"));
    assert_eq!((generation(&publisher), publisher.serving(FLEET)["pod"].complaints.len()), (Some(3), 0));
    // What another operator has fed it, and this one has not compiled.
    publisher.answered(FLEET, "pod", 7, accepted("c"));
    assert_eq!(generation(&publisher), None);
}

#[test]
fn the_end_of_an_earlier_stream_says_nothing_about_the_present_one() {
    let publisher = Publisher::default();
    publisher.publish(FLEET, &snapshot("a"), of_web(1));
    publisher.joined(FLEET, "pod", 1);
    publisher.joined(FLEET, "pod", 2);
    publisher.answered(FLEET, "pod", 2, accepted("a"));
    publisher.answered(FLEET, "pod", 1, accepted("old"));
    publisher.left(FLEET, "pod", 1);
    assert_eq!(generation(&publisher), Some(1));
    publisher.left(FLEET, "pod", 2);
    assert!(publisher.serving(FLEET).is_empty());
}

#[test]
fn followers_wake_for_other_contents_only() {
    let publisher = Publisher::default();
    let mut current = publisher.follow(FLEET);
    publisher.publish(FLEET, &snapshot("a"), of_web(1));
    assert!(current.has_changed().unwrap());
    assert_eq!(current.borrow_and_update().as_ref().unwrap().version, "a");
    publisher.publish(FLEET, &snapshot("a"), of_web(2));
    assert!(!current.has_changed().unwrap());
    publisher.publish("shop/other", &snapshot("b"), of_web(1));
    assert!(!current.has_changed().unwrap(), "another fleet's");
    publisher.retain(|fleet| fleet != FLEET);
    assert!(current.has_changed().is_err(), "the stream ends with its Gateway");
}

#[test]
fn a_fleet_has_to_do_what_its_replicas_lately_told() {
    let publisher = Publisher::default();
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let load = |now| publisher.load(FLEET, at(now)).map(|load| (load.per_second, load.in_flight));
    publisher.joined(FLEET, "a", 1);
    publisher.joined(FLEET, "b", 2);
    assert_eq!(load(0), None, "nobody has told");
    publisher.measured(FLEET, "a", 1, (1_000, 3), at(0));
    assert_eq!(load(0), Some((0.0, 3)), "one measurement is no rate");
    publisher.measured(FLEET, "a", 1, (1_500, 2), at(5));
    publisher.measured(FLEET, "b", 2, (0, 1), at(5));
    publisher.measured(FLEET, "b", 2, (50, 4), at(10));
    assert_eq!(load(10), Some((110.0, 6)));
    publisher.measured(FLEET, "b", 1, (9_999, 9), at(12));
    assert_eq!(load(12), Some((110.0, 6)), "an earlier stream says nothing");
    assert_eq!(load(26), Some((10.0, 4)), "a has been silent");
    publisher.measured(FLEET, "b", 2, (7, 0), at(27));
    assert_eq!(load(27), Some((0.0, 0)), "b has started again");
}
