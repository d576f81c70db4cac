use super::*;
use analytics_record::segment::{Flavour, Hash, Seal, Source, seal};
use analytics_record::wire::{LostSegment, SpoolHealth, StreamFacts};
use analytics_record::{GatewayId, NameId, Record};

const DAY: u64 = 1_795_000_000_000_000;

fn at(mono_us: u64) -> Now {
    Now { mono_us, wall_us: DAY + mono_us }
}

fn stream() -> Stream {
    Stream { gateway: GatewayId([1; 16]), epoch: 1, shard: 0 }
}

fn header(seq: u32, ts_us: u64) -> Header {
    let request = Seal {
        name: stream().segment(seq),
        flavour: Flavour::Detail,
        source: Source::Ring { from: 0, to: 8 },
        complete_through_us: ts_us,
        wall_anchor_us: 0,
        previous: Hash::ZERO,
    };
    seal(&request, &[Record::at(ts_us), Record::at(ts_us)], &|_: NameId| "".into()).unwrap().header
}

/// A machine whose quarantine is over.
fn ready() -> Ingest {
    let mut ingest = Ingest::new(Config::default(), at(0));
    ingest.fence(at(0));
    ingest
}

fn heartbeat(epoch: u32, streams: Vec<StreamFacts>, lost: Vec<LostSegment>) -> Heartbeat {
    let spool = SpoolHealth::default();
    Heartbeat { gateway: stream().gateway, epoch, now_us: 0, streams, lost, spool }
}

fn facts(first_held: u32, next_seq: u32, closed: bool, complete_through_us: u64) -> StreamFacts {
    StreamFacts { stream: stream(), first_held, next_seq, closed, complete_through_us }
}

/// The only action, which must be a count.
fn count(ingest: &mut Ingest, now: u64) -> QueryId {
    match ingest.poll(at(now)).as_slice() {
        [Action::Verify { query, .. }] => *query,
        other => panic!("expected a count, found {other:?}"),
    }
}

/// The only action, which must be an insert; with its token.
fn insert(ingest: &mut Ingest, now: u64) -> (AttemptId, String) {
    match ingest.poll(at(now)).as_slice() {
        [Action::Insert { attempt, token, .. }] => (*attempt, token.clone()),
        other => panic!("expected an insert, found {other:?}"),
    }
}

#[test]
fn counts_before_and_after_every_insert() {
    let mut ingest = ready();
    let header = header(0, DAY);
    assert_eq!(ingest.put(&header, at(1)), SegmentState::Held);
    let query = count(&mut ingest, 1);
    ingest.counted(query, Ok(Vec::new()), at(2));
    let (attempt, token) = insert(&mut ingest, 2);
    assert_eq!(token, format!("{}:1:r0", header.name));
    assert_eq!(ingest.poll(at(3)), []);
    ingest.inserted(attempt, InsertOutcome::Ok, at(4));
    let query = count(&mut ingest, 4);
    assert_eq!(ingest.state(header.name), SegmentState::Held, "an answer is no proof");
    ingest.counted(query, Ok(vec![(header.name, header.totals)]), at(5));
    assert_eq!(ingest.poll(at(5)), [Action::Drop { name: header.name }]);
    assert_eq!(ingest.put(&header, at(6)), SegmentState::Audited);
    assert_eq!(ingest.status().audited_total, 1);
}

#[test]
fn a_token_without_data_is_met_by_a_fresh_token() {
    let mut ingest = ready();
    ingest.put(&header(0, DAY), at(1));
    let query = count(&mut ingest, 1);
    ingest.counted(query, Ok(Vec::new()), at(2));
    let (attempt, first) = insert(&mut ingest, 2);
    ingest.inserted(attempt, InsertOutcome::Ok, at(3));
    let query = count(&mut ingest, 3);
    ingest.counted(query, Ok(Vec::new()), at(4));
    let (_, second) = insert(&mut ingest, 4);
    assert_ne!(first, second);
    assert_eq!(ingest.status().retries, 1);
}

#[test]
fn an_unknown_outcome_waits_for_the_inserts_afterlife() {
    let mut ingest = ready();
    let afterlife = Config::default().afterlife_us();
    ingest.put(&header(0, DAY), at(1));
    let query = count(&mut ingest, 1);
    ingest.counted(query, Ok(Vec::new()), at(2));
    let (attempt, _) = insert(&mut ingest, 2);
    ingest.inserted(attempt, InsertOutcome::Ambiguous, at(100));
    let mut now = 100;
    while now < 100 + afterlife {
        for action in ingest.poll(at(now)) {
            match action {
                Action::Verify { query, .. } => ingest.counted(query, Ok(Vec::new()), at(now)),
                other => panic!("too early at {now}: {other:?}"),
            }
        }
        now += 50_000;
    }
    let query = count(&mut ingest, 100 + afterlife);
    ingest.counted(query, Ok(Vec::new()), at(now));
    insert(&mut ingest, now + 10_000_000);
}

#[test]
fn a_count_asked_before_the_end_of_the_afterlife_permits_nothing() {
    let mut ingest = Ingest::new(Config::default(), at(0));
    ingest.put(&header(0, DAY), at(1));
    let query = count(&mut ingest, 1);
    let late = Config::default().afterlife_us() + 10;
    ingest.counted(query, Ok(Vec::new()), at(late));
    count(&mut ingest, late);
}

#[test]
fn a_fence_ends_only_what_it_covers() {
    let mut ingest = ready();
    ingest.put(&header(0, DAY), at(1));
    let query = count(&mut ingest, 1);
    ingest.counted(query, Ok(Vec::new()), at(2));
    let (attempt, _) = insert(&mut ingest, 50);
    ingest.inserted(attempt, InsertOutcome::Ambiguous, at(60));
    ingest.fence(at(70));
    ingest.fence_before(50, at(70));
    let query = count(&mut ingest, 1_000_000);
    ingest.counted(query, Ok(Vec::new()), at(1_000_001));
    assert_eq!(ingest.poll(at(1_000_001)), [], "sent at 50, not before");
    ingest.fence_before(51, at(1_000_002));
    let query = count(&mut ingest, 1_000_002);
    ingest.counted(query, Ok(Vec::new()), at(1_000_003));
    insert(&mut ingest, 2_000_000);
}

#[test]
fn two_contents_under_one_name_raise_an_alarm() {
    let mut ingest = ready();
    let (one, other) = (header(0, DAY), header(0, DAY + 1));
    ingest.put(&one, at(1));
    assert_eq!(ingest.put(&other, at(1)), SegmentState::Conflict);
    assert_eq!(ingest.put(&one, at(1)), SegmentState::Held, "the first is kept");
    let actions = ingest.poll(at(1));
    assert!(actions.contains(&Action::Alarm { name: one.name, what: Alarm::Content }));
}

#[test]
fn a_part_in_the_store_stops_and_a_repair_goes_on() {
    let mut ingest = ready();
    let header = header(0, DAY);
    ingest.put(&header, at(1));
    let query = count(&mut ingest, 1);
    let half = Totals { rows: 1, n: 1, ..Totals::default() };
    ingest.counted(query, Ok(vec![(header.name, half)]), at(2));
    let what = Alarm::Mismatch { expected: header.totals, found: half };
    assert_eq!(ingest.poll(at(2)), [Action::Alarm { name: header.name, what }]);
    assert_eq!(ingest.put(&header, at(3)), SegmentState::Conflict);
    let query = count(&mut ingest, 100_000_000);
    ingest.counted(query, Ok(vec![(header.name, half)]), at(100_000_001));
    assert_eq!(ingest.poll(at(100_000_001)), [], "one alarm is enough");
    let query = count(&mut ingest, 200_000_000);
    ingest.counted(query, Ok(Vec::new()), at(200_000_001));
    insert(&mut ingest, 200_000_001);
}

#[test]
fn completeness_waits_for_every_gateway_that_spoke() {
    let mut ingest = ready();
    ingest.heartbeat(&heartbeat(1, vec![facts(0, 0, false, DAY + 5)], Vec::new()), at(1));
    assert_eq!(ingest.status().complete_through_us, Some(DAY + 5));
    let mut other = facts(0, 1, false, DAY + 9);
    other.stream.gateway = GatewayId([2; 16]);
    let mut second = heartbeat(1, vec![other], Vec::new());
    second.gateway = GatewayId([2; 16]);
    ingest.heartbeat(&second, at(2));
    ingest.heartbeat(&heartbeat(1, vec![facts(0, 0, false, DAY + 20)], Vec::new()), at(3));
    assert_eq!(ingest.status().complete_through_us, Some(DAY + 5), "the other one holds a segment");
    let resumed = Ingest::resume(Config::default(), &ingest.ledger(), at(4));
    assert_eq!(resumed.status().complete_through_us, Some(DAY + 5));
    ingest.give_up(other.stream);
    assert_eq!(ingest.status().complete_through_us, Some(DAY + 20));
}

#[test]
fn a_finished_stream_is_told_and_then_forgotten() {
    let mut ingest = ready();
    let ended = heartbeat(2, vec![facts(3, 3, true, DAY)], Vec::new());
    let marks = ingest.heartbeat(&ended, at(1));
    assert_eq!(marks, [StreamMark { stream: stream(), audited: 3, finished: true }]);
    assert!(ingest.stream(stream()).is_some());
    ingest.heartbeat(&heartbeat(2, Vec::new(), Vec::new()), at(2));
    assert_eq!(ingest.stream(stream()), None);
}

#[test]
fn a_declared_loss_is_said_once() {
    let mut ingest = ready();
    let lost = vec![LostSegment { name: stream().segment(0), n: Some(7) }];
    let news = heartbeat(1, vec![facts(1, 1, false, DAY)], lost);
    ingest.heartbeat(&news, at(1));
    ingest.heartbeat(&news, at(2));
    let what = Alarm::Lost { n: Some(7) };
    assert_eq!(ingest.poll(at(2)), [Action::Alarm { name: stream().segment(0), what }]);
}

#[test]
fn limits_hold() {
    let mut ingest = Ingest::new(Config { max_held: 1, ..Config::default() }, at(0));
    assert_eq!(ingest.put(&header(0, DAY), at(1)), SegmentState::Held);
    assert_eq!(ingest.put(&header(1, DAY), at(1)), SegmentState::Busy);
    let ancient = header(2, 1_000_000);
    assert_eq!(ingest.put(&ancient, at(1)), SegmentState::Audited, "the store would drop it at once");
    assert_eq!(ingest.status().expired, 1);
    assert!(
        ingest.poll(at(1)).contains(&Action::Alarm { name: ancient.name, what: Alarm::Expired { n: 2 } })
    );
}

#[test]
fn answers_to_nobody_are_ignored() {
    let mut ingest = ready();
    ingest.put(&header(0, DAY), at(1));
    ingest.inserted(AttemptId(9), InsertOutcome::Ok, at(1));
    ingest.counted(QueryId(9), Ok(Vec::new()), at(1));
    let query = count(&mut ingest, 1);
    ingest.counted(query, Err(()), at(2));
    assert_eq!(ingest.poll(at(2)), [], "a failed count is asked again later");
    count(&mut ingest, 1_000_000);
}
