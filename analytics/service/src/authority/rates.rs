//! How fast each account was used lately: a few samples each, for forecasts only.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use gateway_quota::{AccountView, Mono, Now, QuotaKey, Window};

/// Time between samples.
const EVERY: Duration = Duration::from_secs(5);
/// Samples kept: a minute.
const KEEP: usize = 13;

/// Samples of use by account.
#[derive(Debug, Default)]
pub(super) struct Rates {
    sampled: Option<Mono>,
    samples: BTreeMap<(QuotaKey, Window), VecDeque<(Mono, u64)>>,
}

impl Rates {
    /// Whether it is time for a sample.
    pub(super) fn due(&self, now: Mono) -> bool {
        self.sampled.is_none_or(|last| now.since(last) >= EVERY)
    }

    /// Notes how all accounts stand; forgets accounts that are gone and windows that are over.
    pub(super) fn sample(&mut self, views: impl Iterator<Item = AccountView>, now: Now) {
        self.sampled = Some(now.mono);
        let mut before = std::mem::take(&mut self.samples);
        for view in views.filter(|view| view.window.contains(now.wall)) {
            let id = (view.key, view.window);
            let mut line = before.remove(&id).unwrap_or_default();
            if line.len() == KEEP {
                line.pop_front();
            }
            line.push_back((now.mono, view.used));
            self.samples.insert(id, line);
        }
    }

    /// Units used between the oldest and the newest sample, and the seconds between them.
    pub(super) fn of(&self, key: &QuotaKey, window: Window) -> (u64, f64) {
        let line = self.samples.get(&(key.clone(), window));
        let ends = line.and_then(|line| Some((line.front()?, line.back()?)));
        ends.map_or((0, 0.0), |(first, last)| {
            (last.1.saturating_sub(first.1), last.0.since(first.0).as_secs_f64())
        })
    }
}
