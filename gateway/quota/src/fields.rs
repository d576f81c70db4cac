//! The `RateLimit` and `RateLimit-Policy` response fields (draft-ietf-httpapi-ratelimit-headers, structured fields
//! of RFC 9651).
//!
//! In: how limits stand. Out: field values. Names may hold any text: what a structured string cannot carry is
//! replaced, so a value is always valid.

use std::fmt::Write;

use crate::limit::Unit;

/// The greatest integer of a structured field (RFC 9651, section 3.3.1).
const MAX_INTEGER: u64 = 999_999_999_999_999;

/// One member of `RateLimit-Policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyMember<'a> {
    /// The name that pairs it with the member of `RateLimit`.
    pub name: &'a str,
    /// Units per window (`q`).
    pub quantity: u64,
    /// Seconds of the window (`w`).
    pub window_seconds: u64,
    /// What is counted (`qu`).
    pub unit: &'a Unit,
}

/// The value of `RateLimit-Policy`, for example `"monthly";q=1000;w=2592000;qu="requests"`.
pub fn policy_field(members: &[PolicyMember<'_>]) -> String {
    join(members, |out, member| {
        string(out, member.name);
        parameter(out, "q", member.quantity);
        parameter(out, "w", member.window_seconds);
        out.push_str(";qu=");
        string(out, quota_unit(member.unit));
    })
}

/// The value of `RateLimit` from (name, remaining units, seconds until the reset), for example `"monthly";r=12;t=30`.
pub fn ratelimit_field(members: &[(&str, u64, u64)]) -> String {
    join(members, |out, &(name, remaining, reset)| {
        string(out, name);
        parameter(out, "r", remaining);
        parameter(out, "t", reset);
    })
}

/// The registered names of units differ from ours for bytes.
fn quota_unit(unit: &Unit) -> &str {
    match unit {
        Unit::Bytes => "content-bytes",
        other => other.word(),
    }
}

fn join<T>(members: &[T], mut write: impl FnMut(&mut String, &T)) -> String {
    let mut out = String::with_capacity(members.len() * 48);
    for (index, member) in members.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write(&mut out, member);
    }
    out
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            ' '..='~' => out.push(character),
            _ => out.push('?'),
        }
    }
    out.push('"');
}

fn parameter(out: &mut String, name: &str, value: u64) {
    write!(out, ";{name}={}", value.min(MAX_INTEGER)).expect("a string takes any text");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_follow_the_draft() {
        let requests =
            PolicyMember { name: "monthly", quantity: 1000, window_seconds: 60, unit: &Unit::Requests };
        let bytes =
            PolicyMember { name: "traffic", quantity: u64::MAX, window_seconds: 1, unit: &Unit::Bytes };
        assert_eq!(
            policy_field(&[requests, bytes]),
            r#""monthly";q=1000;w=60;qu="requests", "traffic";q=999999999999999;w=1;qu="content-bytes""#
        );
        assert_eq!(ratelimit_field(&[("monthly", 12, 30)]), r#""monthly";r=12;t=30"#);
        assert_eq!(ratelimit_field(&[]), "");
    }

    #[test]
    fn hostile_names_stay_inside_their_string() {
        assert_eq!(ratelimit_field(&[("a\"\\\r\né", 0, 0)]), r#""a\"\\???";r=0;t=0"#);
    }
}
