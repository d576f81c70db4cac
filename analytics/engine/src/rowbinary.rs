//! The header of RowBinaryWithNamesAndTypes, which the engine repeats in every chunk of a streamed result.
//!
//! In: chunks. Out: the same with the header in the first one only. The header: a LEB128 count of columns, then that many
//! names and that many types, each a LEB128 length and bytes. Pure.

/// Length of the header at a chunk's start, or `None` when the chunk does not hold a whole one.
pub(crate) fn header_length(chunk: &[u8]) -> Option<usize> {
    let mut at = 0;
    let columns = varint(chunk, &mut at)?;
    for _ in 0..columns.checked_mul(2)? {
        let length = usize::try_from(varint(chunk, &mut at)?).ok()?;
        at = at.checked_add(length).filter(|&end| end <= chunk.len())?;
    }
    Some(at)
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_measured() {
        assert_eq!(header_length(b"\x01\x01a\x06UInt64rest"), Some(10));
        assert_eq!(header_length(b"\x00rest"), Some(1));
        assert_eq!(header_length(b"\x01\x01a\x06UInt6"), None);
        assert_eq!(header_length(&[0xff; 64]), None);
        assert_eq!(header_length(b""), None);
    }
}
