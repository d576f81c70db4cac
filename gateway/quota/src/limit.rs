//! What a limit says: how many units of what, per which window, for whom, and how strictly.
//!
//! In: a plan or policy, compiled. Out: the value that the authority guards, the gateway enforces and analytics
//! reports, the same for all three. This module must never decide anything about a request.

use std::{
    borrow::Borrow,
    fmt::{Display, Formatter},
    num::NonZeroU64,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::window::WindowSpec;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Display for $name {
            fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of a limit, for example `plan/shop/gold/monthly`. Cheap to clone.
    LimitId
);
name!(
    /// Who a limit counts for, for example the subscription `shop/alice`. Cheap to clone.
    SubjectId
);
name!(
    /// The name of a gateway, kept on its spool volume through restarts.
    GatewayId
);

/// The name of a lease, unique over all gateways, limits and restarts; never 0 (a record's lease 0 means none).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(NonZeroU64);

impl LeaseId {
    /// From the number in a record; `None` for 0.
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The number as records carry it.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl Display for LeaseId {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        Display::fmt(&self.0, formatter)
    }
}

/// One thing that is counted: a limit for one subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaKey {
    /// The limit.
    pub limit: LimitId,
    /// Who it counts for.
    pub subject: SubjectId,
}

impl QuotaKey {
    /// The key of `limit` for `subject`.
    pub fn new(limit: impl Into<LimitId>, subject: impl Into<SubjectId>) -> Self {
        Self { limit: limit.into(), subject: subject.into() }
    }
}

/// What a limit counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unit {
    /// One per admitted request.
    #[default]
    Requests,
    /// Bytes of bodies, downstream, both directions.
    Bytes,
    /// Units that the upstream names; the name is a lower-case word such as `tokens`.
    Custom(String),
}

impl Unit {
    /// The word for people, reports and the `qu` parameter: `requests`, `bytes` or the custom name.
    pub fn word(&self) -> &str {
        match self {
            Self::Requests => "requests",
            Self::Bytes => "bytes",
            Self::Custom(name) => name,
        }
    }
}

/// How strictly a limit is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Never one unit above the quantity.
    #[default]
    Hard,
    /// Up to `overdraft` units above the quantity, counted and billable, never more.
    Soft {
        /// Units above the quantity.
        overdraft: u64,
    },
    /// Count and alert; refuse nothing.
    Observe,
}

/// How many units per window one subject may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Its name.
    pub id: LimitId,
    /// What it counts.
    #[serde(default)]
    pub unit: Unit,
    /// Units per window.
    pub quantity: u64,
    /// The calendar window.
    pub window: WindowSpec,
    /// How strictly it is kept.
    #[serde(default)]
    pub mode: Mode,
    /// Percentages of the quantity at which to alert, 1 to 255.
    #[serde(default)]
    pub thresholds: Vec<u8>,
}

/// Why a limit is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// The name is empty or longer than 512 bytes.
    #[error("id: a limit needs a name of 1 to 512 bytes")]
    Id,
    /// More than [`Limit::MAX_THRESHOLDS`], or a threshold of 0.
    #[error("thresholds: {0:?} must be at most 16 percentages from 1 to 255")]
    Thresholds(Vec<u8>),
    /// A custom unit that is not a short lower-case word.
    #[error("unit: `{0}` must be a word of 1 to 32 characters a-z, 0-9 and -")]
    Unit(String),
}

impl Limit {
    /// The most thresholds a limit may have.
    pub const MAX_THRESHOLDS: usize = 16;

    /// Checks what the types do not say.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn validate(&self) -> Result<(), LimitError> {
        if !(1..=512).contains(&self.id.as_str().len()) {
            return Err(LimitError::Id);
        }
        if self.thresholds.len() > Self::MAX_THRESHOLDS || self.thresholds.contains(&0) {
            return Err(LimitError::Thresholds(self.thresholds.clone()));
        }
        match &self.unit {
            Unit::Custom(name) if !is_word(name) => Err(LimitError::Unit(name.clone())),
            _ => Ok(()),
        }
    }

    /// The most units that may ever be admitted in one window.
    pub fn ceiling(&self) -> u64 {
        match self.mode {
            Mode::Hard => self.quantity,
            Mode::Soft { overdraft } => self.quantity.saturating_add(overdraft),
            Mode::Observe => u64::MAX,
        }
    }

    /// The use at which `threshold` percent is reached, at least 1.
    pub fn threshold_units(&self, threshold: u8) -> u64 {
        let exact = (u128::from(self.quantity) * u128::from(threshold)).div_ceil(100);
        u64::try_from(exact).unwrap_or(u64::MAX).max(1)
    }
}

fn is_word(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::Period;

    fn limit(quantity: u64) -> Limit {
        Limit {
            id: "plan/shop/gold/monthly".into(),
            unit: Unit::Requests,
            quantity,
            window: WindowSpec::calendar(Period::Month, "UTC").unwrap(),
            mode: Mode::Hard,
            thresholds: vec![50, 80, 100],
        }
    }

    #[test]
    fn thresholds_round_up_and_never_overflow() {
        assert_eq!(limit(1).threshold_units(50), 1);
        assert_eq!(limit(3).threshold_units(50), 2);
        assert_eq!(limit(1000).threshold_units(80), 800);
        assert_eq!(limit(u64::MAX).threshold_units(200), u64::MAX);
        assert_eq!(limit(0).threshold_units(100), 1);
    }

    #[test]
    fn ceilings_follow_the_mode() {
        let soft = Limit { mode: Mode::Soft { overdraft: 7 }, ..limit(10) };
        assert_eq!((limit(10).ceiling(), soft.ceiling()), (10, 17));
    }

    #[test]
    fn mistakes_name_the_field() {
        let unit = Limit { unit: Unit::Custom("Tokens!".into()), ..limit(1) };
        assert_eq!(unit.validate(), Err(LimitError::Unit("Tokens!".into())));
        let thresholds = Limit { thresholds: vec![0], ..limit(1) };
        assert!(thresholds.validate().unwrap_err().to_string().starts_with("thresholds:"));
        assert_eq!(Limit { id: "".into(), ..limit(1) }.validate(), Err(LimitError::Id));
        assert_eq!(limit(1).validate(), Ok(()));
    }

    #[test]
    fn a_limit_survives_json() {
        let text = serde_json::to_string(&limit(5)).unwrap();
        assert_eq!(serde_json::from_str::<Limit>(&text).unwrap(), limit(5));
    }
}
