//! Trace context on the way through (W3C Trace Context), and the decision whether a request gets a span.
//!
//! In: the caller's `traceparent`, and randomness. Out: the trace that the request belongs to, and the field
//! for the upstream. Pure; spans are exported by [`super::spans`].

/// Where a request stands in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trace {
    /// 16 bytes, never zero.
    pub(crate) id: u128,
    /// The caller's span; 0 when the trace begins here.
    pub(crate) parent: u64,
    /// Ours, never zero.
    pub(crate) span: u64,
    /// Whether a span is kept.
    pub(crate) sampled: bool,
}

impl Trace {
    /// Continues the trace of `traceparent`, or begins one, of which `per_mille` in a thousand are kept.
    pub(crate) fn new(traceparent: Option<&[u8]>, random: [u64; 3], per_mille: u16) -> Self {
        let span = random[2] | 1;
        if let Some((trace_id, parent, sampled)) = traceparent.and_then(parse) {
            return Self { id: trace_id, parent, span, sampled };
        }
        let id = (u128::from(random[0]) << 64 | u128::from(random[1])) | 1;
        let sampled = random[1] % 1000 < u64::from(per_mille);
        Self { id, parent: 0, span, sampled }
    }

    /// Whether no caller's trace is continued.
    pub(crate) fn begins_here(&self) -> bool {
        self.parent == 0
    }

    /// The field for the next hop.
    pub(crate) fn traceparent(&self) -> [u8; 55] {
        let mut field = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let digits = [
            hex::encode_to_slice(self.id.to_be_bytes(), &mut field[3..35]),
            hex::encode_to_slice(self.span.to_be_bytes(), &mut field[36..52]),
            hex::encode_to_slice([u8::from(self.sampled)], &mut field[53..]),
        ];
        debug_assert!(digits.iter().all(Result::is_ok), "the places have the right lengths");
        field
    }
}

/// `version-traceid-parentid-flags`; later versions may have more behind (W3C Trace Context, 4.3).
fn parse(field: &[u8]) -> Option<(u128, u64, bool)> {
    let field = std::str::from_utf8(field).ok()?;
    let version = number(field.get(0..2)?)?;
    if version == 0xff
        || (version == 0 && field.len() != 55)
        || (field.len() > 55 && field.as_bytes()[55] != b'-')
    {
        return None;
    }
    let dashes = [2, 35, 52].iter().all(|at| field.as_bytes().get(*at) == Some(&b'-'));
    let trace_id = number(field.get(3..35)?)?;
    let parent = number(field.get(36..52)?)? as u64;
    let flags = number(field.get(53..55)?)?;
    (dashes && trace_id != 0 && parent != 0).then_some((trace_id, parent, flags & 1 == 1))
}

/// Lower-case hexadecimal only, as the specification demands.
fn number(digits: &str) -> Option<u128> {
    let lower = digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if lower { u128::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_is_continued() {
        let trace = Trace::new(Some(FIELD.as_bytes()), [1, 2, 3], 0);
        assert_eq!(trace.parent, 0x00f0_67aa_0ba9_02b7);
        assert!(trace.sampled);
        assert_eq!(&trace.traceparent(), b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000003-01");
    }

    #[test]
    fn a_bad_field_begins_a_new_trace() {
        for field in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            &FIELD.to_uppercase(),
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "\u{e9}\u{e9}\u{e9}",
        ] {
            let trace = Trace::new(Some(field.as_bytes()), [1, 2, 3], 0);
            assert_eq!((trace.parent, trace.sampled), (0, false), "{field}");
        }
        let future = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra";
        assert_ne!(Trace::new(Some(future.as_bytes()), [1, 2, 3], 0).parent, 0);
    }

    #[test]
    fn the_share_of_new_traces_is_kept() {
        let kept =
            (0..10_000u64).filter(|n| Trace::new(None, [*n, n.wrapping_mul(7), 3], 10).sampled).count();
        assert_eq!(kept, 100);
    }
}
