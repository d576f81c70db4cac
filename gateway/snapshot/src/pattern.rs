//! The one way in which a regular expression of a snapshot is compiled, so that what the compiler accepts the
//! gateway accepts too.

use regex::{Error, Regex, RegexBuilder};

/// Bytes that one compiled expression may need.
pub const REGEX_SIZE_LIMIT: usize = 256 * 1024;

/// Bytes that the different expressions of one snapshot may need together, as [`regex_cost`] counts them.
pub const REGEX_TOTAL_LIMIT: usize = 16 * 1024 * 1024;

/// Steps in which the need of an expression is told.
const COSTS: [usize; 3] = [4 * 1024, 16 * 1024, 64 * 1024];

/// Levels of nesting that an expression may have.
const NEST_LIMIT: u32 = 32;

/// `pattern` over the whole value, in linear time and bounded size.
///
/// # Errors
/// As the `regex` crate words them: syntax, or more than [`REGEX_SIZE_LIMIT`] bytes.
pub fn regex_of(pattern: &str) -> Result<Regex, Error> {
    // Alone first: `a)|(b` must not close the group that anchors it.
    build(pattern, REGEX_SIZE_LIMIT)?;
    build(&format!("^(?:{pattern})$"), REGEX_SIZE_LIMIT)
}

/// Bytes that `pattern`, which [`regex_of`] has taken, needs at most: a step between 4 KiB and
/// [`REGEX_SIZE_LIMIT`].
pub fn regex_cost(pattern: &str) -> usize {
    let anchored = format!("^(?:{pattern})$");
    let enough = COSTS.into_iter().find(|cost| build(&anchored, *cost).is_ok());
    enough.unwrap_or(REGEX_SIZE_LIMIT)
}

fn build(pattern: &str, size: usize) -> Result<Regex, Error> {
    RegexBuilder::new(pattern)
        .size_limit(size)
        .dfa_size_limit(REGEX_SIZE_LIMIT)
        .nest_limit(NEST_LIMIT)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_covers_the_whole_value() {
        let digits = regex_of("[0-9]+|x").unwrap();
        assert!(digits.is_match("12") && digits.is_match("x"));
        assert!(!digits.is_match("12a") && !digits.is_match("ax"));
    }

    #[test]
    fn a_larger_expression_costs_more() {
        assert_eq!(regex_cost("/v[0-9]+"), COSTS[0]);
        assert!(regex_cost(r"\w{10}") > COSTS[0]);
        assert_eq!(regex_cost(r"(\w{100}){100}"), REGEX_SIZE_LIMIT);
    }

    #[test]
    fn size_and_nesting_are_bounded() {
        assert!(regex_of(r"(\w{1000}){1000}").is_err());
        assert!(regex_of(&format!("{}a{}", "(".repeat(40), ")".repeat(40))).is_err());
        assert!(regex_of("a)|(b").is_err());
    }
}
