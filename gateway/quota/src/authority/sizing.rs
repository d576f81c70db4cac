//! How many units to grant: enough to keep quiet, few enough that others find some, and never past a threshold
//! unseen.

use std::time::Duration;

use crate::{
    limit::{Limit, Mode, Unit},
    message::MAX_UNITS,
};

/// What the size of a grant depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    /// The fewest units that help.
    pub(super) need: u64,
    /// Units per second wanted there.
    pub(super) rate: f64,
    /// Units that the holder has and has not spent. They count towards what it should have.
    pub(super) unspent: u64,
    /// Gateways among which the rest is shared.
    pub(super) gateways: u64,
    /// Time for which the grant should last.
    pub(super) cover: Duration,
}

/// The units to grant when `charged` are out or used: 0 or at least `wish.need`.
pub(super) fn size(limit: &Limit, charged: u64, wish: &Wish) -> u64 {
    let room = limit.ceiling().saturating_sub(charged).min(MAX_UNITS.saturating_sub(wish.unspent));
    let need = wish.need.max(1);
    if room < need {
        return 0;
    }
    // One gateway alone may take half of what is left; of many, all together take at most a quarter.
    let parts = if wish.gateways <= 1 { 2 } else { wish.gateways.saturating_mul(4) };
    let lasting = (1.5 * wish.rate * wish.cover.as_secs_f64()) as u64;
    let lasting = lasting.saturating_sub(wish.unspent);
    let ideal = (room / parts).min(lasting.max(smallest(&limit.unit)));
    to_threshold(limit, charged, ideal.clamp(need, room), need)
}

/// What a grant holds before its holder's rate is known.
fn smallest(unit: &Unit) -> u64 {
    match unit {
        Unit::Requests => 16,
        Unit::Bytes => 4 << 20,
        Unit::Custom(_) => 1_000,
    }
}

/// Cuts a grant at the next threshold, so that its holder reports before anyone uses more.
fn to_threshold(limit: &Limit, charged: u64, size: u64, need: u64) -> u64 {
    if limit.mode == Mode::Observe {
        return size;
    }
    let ahead =
        limit.thresholds.iter().map(|percent| limit.threshold_units(*percent)).filter(|at| *at > charged);
    match ahead.min() {
        Some(next) if next - charged < size => (next - charged).max(need),
        _ => size,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::window::{Period, WindowSpec};

    fn limit(quantity: u64, thresholds: Vec<u8>) -> Limit {
        Limit {
            id: "l".into(),
            unit: Unit::Requests,
            quantity,
            window: WindowSpec::calendar(Period::Day, "UTC").unwrap(),
            mode: Mode::Hard,
            thresholds,
        }
    }

    fn wish(need: u64, rate: f64, gateways: u64) -> Wish {
        Wish { need, rate, unspent: 0, gateways, cover: Duration::from_secs(10) }
    }

    #[test]
    fn small_rests_are_handed_out_in_small_pieces() {
        assert_eq!(size(&limit(1000, vec![]), 0, &wish(1, 0.0, 1)), 16);
        assert_eq!(size(&limit(1000, vec![]), 0, &wish(1, 1e9, 1)), 500);
        assert_eq!(size(&limit(1000, vec![]), 0, &wish(1, 1e9, 5)), 50);
        assert_eq!(size(&limit(1000, vec![]), 999, &wish(1, 1e9, 5)), 1);
        assert_eq!(size(&limit(1000, vec![]), 1000, &wish(1, 1e9, 5)), 0);
    }

    #[test]
    fn grants_stop_at_thresholds_but_for_a_larger_need() {
        let limit = limit(1000, vec![50, 80]);
        assert_eq!(size(&limit, 490, &wish(1, 1e9, 1)), 10);
        assert_eq!(size(&limit, 500, &wish(1, 1e9, 1)), 250);
        assert_eq!(size(&limit, 490, &wish(30, 1e9, 1)), 30);
    }

    proptest! {
        #[test]
        fn a_grant_fits_and_helps(
            quantity in 0_u64..10_000, charged in 0_u64..12_000, need in 0_u64..500, rate in 0.0_f64..1e6,
            gateways in 0_u64..20, thresholds in prop::collection::vec(1_u8..=255, 0..4),
        ) {
            let units = size(&limit(quantity, thresholds), charged, &wish(need, rate, gateways));
            prop_assert!(units == 0 || (units >= need && charged + units <= quantity));
            prop_assert!(units > 0 || charged + need.max(1) > quantity);
        }
    }
}
