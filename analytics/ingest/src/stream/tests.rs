use super::*;
use analytics_record::{GatewayId, Stream};
use proptest::prelude::*;

fn facts(first_held: u32, next_seq: u32, closed: bool, complete_through_us: u64) -> StreamFacts {
    let stream = Stream { gateway: GatewayId([1; 16]), epoch: 1, shard: 0 };
    StreamFacts { stream, first_held, next_seq, closed, complete_through_us }
}

#[test]
fn completeness_follows_the_audited_prefix() {
    let mut state = StreamState::default();
    state.hear(&facts(0, 3, false, 30), 1);
    assert_eq!((state.audited, state.complete_through_us), (0, 0));
    state.audit(2, Hash::ZERO, 30);
    state.audit(0, Hash::ZERO, 10);
    assert_eq!((state.audited, state.complete_through_us), (1, 10), "1 is missing");
    state.audit(1, Hash::ZERO, 20);
    assert_eq!((state.audited, state.complete_through_us, state.finished()), (3, 30, false));
    state.hear(&facts(3, 3, true, 40), 2);
    assert_eq!((state.complete_through_us, state.finished()), (40, true));
}

#[test]
fn a_declared_loss_does_not_hold_the_stream_back() {
    let mut state = StreamState::default();
    state.audit(0, Hash::ZERO, 10);
    state.audit(2, Hash::ZERO, 30);
    assert!(state.lose(1) && !state.lose(1));
    assert_eq!((state.audited, state.lost(), state.is_audited(1)), (3, 1, false));
    assert!(!state.lose(0), "what is in the store is not lost");
    state.audit(1, Hash::ZERO, 20);
    assert_eq!((state.lost(), state.is_audited(1)), (0, true), "it came after all");
}

proptest! {
    /// Any order and repetition of the same news gives the same state.
    #[test]
    fn news_commute(order in Just((0u32..12).collect::<Vec<_>>()).prop_shuffle(), repeat in 0usize..12) {
        let tell = |state: &mut StreamState, item: u32| match item {
            0..8 => state.audit(item, Hash([item as u8; 32]), u64::from(item) * 10),
            8 => state.hear(&facts(0, 4, false, 35), 5),
            9 => state.hear(&facts(2, 8, false, 75), 6),
            10 => state.hear(&facts(2, 9, true, 95), 7),
            _ => _ = state.lose(8),
        };
        let mut state = StreamState::default();
        for item in order.iter().chain(order.iter().take(repeat)) {
            tell(&mut state, *item);
        }
        prop_assert_eq!((state.audited, state.next_seq, state.complete_through_us), (9, 9, 95));
        prop_assert!(state.finished());
    }
}
