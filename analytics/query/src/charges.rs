//! Money: what a quantity costs on a plan's price line.
//!
//! In: exact counts and prices as decimal text. Out: lines with decimal amounts.
//! Never a float. Rounding is said once: the amount of a line is rounded half to even at [`SCALE`] digits after the
//! point, and nothing else is rounded.

use std::collections::BTreeMap;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

/// Digits after the point that an amount is rounded to.
pub const SCALE: u32 = 8;

/// Why a price cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// Not a decimal number from 0 on.
    #[error("price `{0}` is not a decimal number from 0 on")]
    Amount(String),
    /// `per` is 0.
    #[error("price is per 0 units; use 1 or more")]
    Per,
    /// Counted in something that records do not hold.
    #[error("price is in `{0}`; use requests or bytes")]
    Unit(String),
    /// Larger than 28 digits hold.
    #[error("the amount for {0} units is too large")]
    Overflow(u64),
}

/// A price line of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceLine {
    /// `requests` or `bytes`.
    pub unit: String,
    /// Units in a month that cost nothing.
    pub included: u64,
    /// Price of `per` units, decimal text.
    pub amount: String,
    /// ISO 4217.
    pub currency: String,
    /// Units that `amount` buys.
    pub per: u64,
}

/// What one subscription's terms cost in one month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Charge {
    /// Calendar month in the report's zone, `2026-11`.
    pub month: String,
    /// Who pays.
    pub consumer: String,
    /// As in the invoice.
    pub billing_id: Option<String>,
    /// On which terms.
    pub plan: String,
    /// For what.
    pub product: String,
    /// `requests` or `bytes`.
    pub unit: String,
    /// Units used.
    pub quantity: u64,
    /// Units that cost nothing.
    pub included: u64,
    /// Units that cost.
    pub billable: u64,
    /// Price of `per` units.
    pub price: String,
    /// Units that `price` buys.
    pub per: u64,
    /// What it costs, decimal text.
    pub amount: String,
    /// ISO 4217.
    pub currency: String,
    /// Whether the report covers the month from start to end.
    pub whole_month: bool,
}

/// What was used: one row of the report by month, consumer, plan and product.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Used {
    /// Start of the month, RFC 3339 in the report's zone.
    pub time: String,
    /// Who.
    pub consumer: String,
    /// On which terms.
    pub plan: String,
    /// What.
    pub product: String,
    /// Requests that were not refused.
    pub admitted: u64,
    /// Of request bodies.
    pub request_bytes: u64,
    /// Of response bodies.
    pub response_bytes: u64,
}

impl PriceLine {
    /// Units that cost, and what they cost.
    pub fn price(&self, quantity: u64) -> Result<(u64, Decimal), PriceError> {
        let bad = || PriceError::Amount(self.amount.chars().take(40).collect());
        let price = Decimal::from_str_exact(&self.amount).map_err(|_| bad())?;
        if price.is_sign_negative() && !price.is_zero() {
            return Err(bad());
        }
        if self.per == 0 {
            return Err(PriceError::Per);
        }
        let billable = quantity.saturating_sub(self.included);
        let amount = Decimal::from(billable)
            .checked_mul(price)
            .and_then(|product| product.checked_div(Decimal::from(self.per)))
            .ok_or(PriceError::Overflow(billable))?;
        Ok((billable, amount.round_dp_with_strategy(SCALE, RoundingStrategy::MidpointNearestEven)))
    }

    fn quantity(&self, used: &Used) -> Result<u64, PriceError> {
        match self.unit.as_str() {
            "requests" => Ok(used.admitted),
            "bytes" => Ok(used.request_bytes.saturating_add(used.response_bytes)),
            other => Err(PriceError::Unit(other.chars().take(40).collect())),
        }
    }
}

/// Prices the rows of a month; rows without a plan, or of plans without prices, cost nothing and give no line.
///
/// `prices` by plan, `billing_ids` by consumer; `whole` tells whether a month (`2026-11`) is covered in full.
pub fn charge(
    rows: &[Used],
    prices: &BTreeMap<String, Vec<PriceLine>>,
    billing_ids: &BTreeMap<String, String>,
    whole: impl Fn(&str) -> bool,
) -> Result<Vec<Charge>, PriceError> {
    let mut charges = Vec::new();
    for used in rows {
        for line in prices.get(&used.plan).into_iter().flatten() {
            let quantity = line.quantity(used)?;
            let (billable, amount) = line.price(quantity)?;
            let month: String = used.time.chars().take(7).collect();
            charges.push(Charge {
                whole_month: whole(&month),
                month,
                consumer: used.consumer.clone(),
                billing_id: billing_ids.get(&used.consumer).cloned(),
                plan: used.plan.clone(),
                product: used.product.clone(),
                unit: line.unit.clone(),
                quantity,
                included: line.included,
                billable,
                price: line.amount.clone(),
                per: line.per,
                amount: plain(amount),
                currency: line.currency.clone(),
            });
        }
    }
    Ok(charges)
}

/// Decimal text with at least two digits after the point.
fn plain(amount: Decimal) -> String {
    let mut amount = amount.normalize();
    if amount.scale() < 2 {
        amount.rescale(2);
    }
    amount.to_string()
}

#[cfg(test)]
mod tests;
