//! Limits, windows, rates and leases: the algebra that keeps a hard quota from ever being exceeded.
//!
//! One [`Authority`] per set of limits hands out leases; every gateway holds leases ([`Holder`]) and spends them
//! on its request path without a lock or a message ([`Slot`]). They talk by the [`message`]s of this crate.
//! Short windows are local token buckets ([`rate`]).
//!
//! Everything here is a pure state machine: time comes in as [`Mono`] and wall-clock timestamps, durable changes
//! and messages go out as values. This crate must never read a clock, touch a socket or a file, or sleep.

mod authority;
mod clock;
mod fields;
mod holder;
mod limit;
pub mod message;
pub mod rate;
mod slot;
mod window;

pub use authority::{
    AccountId, AccountRow, AccountView, Authority, AuthorityConfig, Change, Crossing, Discrepancy, FloorRow,
    GatewayRow, LeaseRow, LimitRow, Now, OrphanStream, Proof, Row, Settlement, Step,
};
pub use clock::{Mono, RateBound};
pub use fields::{PolicyMember, policy_field, ratelimit_field};
pub use holder::{Applied, Holder, HolderConfig};
pub use limit::{GatewayId, LeaseId, Limit, LimitError, LimitId, Mode, QuotaKey, SubjectId, Unit};
pub use slot::{Slot, Spend, Standing};
pub use window::{Period, Window, WindowError, WindowSpec};
