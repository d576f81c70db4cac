//! "Did you mean": the known word nearest to an unknown one.

/// The candidate that `word` is most likely a slip of, if any is near enough.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Comparing is quadratic in the lengths; no word of ours is nearly that long.
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase();
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_of_the_pen_are_recognised() {
        let words = ["matches", "filters", "backendRefs", "name", "Requests", "HTTPRoute"];
        let table = [
            ("matchs", Some("matches")),
            ("backendrefs", Some("backendRefs")),
            ("backendRef", Some("backendRefs")),
            ("fitlers", Some("filters")),
            ("requests", Some("Requests")),
            ("HttpRoute", Some("HTTPRoute")),
            ("entirely", None),
            ("", None),
        ];
        for (word, expected) in table {
            assert_eq!(nearest(word, words), expected, "{word:?}");
        }
        assert_eq!(nearest(&"x".repeat(1_000_000), words), None);
    }
}
