//! A door for fuzz targets to what the endpoint reads; built only for them (`--cfg fuzzing`).

use crate::native_block::{Unpacker, pack, seal};
use crate::options::Limits;
use crate::request::Ask;
use crate::rowbinary::header_length;
use crate::statement::{Statement, quote_literal, quote_name};

/// Reads a query string.
pub fn ask(query: &str) {
    let _ = Ask::from_query(query, &Limits::default());
}

/// Reads a statement; its parts lie inside of it.
pub fn statement(sql: &str) {
    if let Ok(Statement::Insert { head, format, inline }) = Statement::read(sql) {
        assert!(sql.contains(head) && sql.contains(format) && sql.contains(inline), "parts of the text");
    }
    assert!(quote_literal(sql).len() > sql.len() && quote_name(sql).len() > sql.len());
}

/// Unpacks blocks as they come, and with a checksum that fits; reads a result's header; packs and unpacks.
pub fn unpack(bytes: &[u8]) {
    let _ = header_length(bytes);
    read(bytes);
    read(&seal(bytes));
    let packed = read(&pack(bytes)).expect("a packed block can be unpacked");
    assert_eq!(packed, bytes);
}

fn read(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut unpacker = Unpacker::default();
    unpacker.push(bytes);
    let mut out = Vec::new();
    while let Some(data) = unpacker.next().ok()? {
        out.extend_from_slice(&data);
        // Blocks of nothing could go on for ever in a stream that never ends; here it does.
        if out.len() > 64 << 20 {
            return None;
        }
    }
    unpacker.finish().ok().map(|()| out)
}
