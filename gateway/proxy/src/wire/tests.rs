//! Edits write what a header map would hold; heads of answers are framed one way only.

use std::fmt::Write;

use gateway_pipeline::{HeaderSink, Headers};
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

fn parsed(head: &[u8]) -> Vec<Field> {
    let mut room = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut room);
    assert!(request.parse(head).unwrap().is_complete());
    let mut fields = Vec::new();
    Field::collect(&mut fields, head, request.headers);
    fields
}

fn answer(head: &str) -> Result<Option<ResponseHead>, Malformed> {
    ResponseHead::read(head.as_bytes(), 0, &mut Vec::new())
}

#[test]
fn what_is_not_edited_stays_and_the_rest_follows() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nX-Odd:  \t b \t \r\nx-odd: c\r\nEmpty:\r\n\r\n";
    let fields = parsed(head);
    let view = View::new(head, &fields);
    assert_eq!(view.first(&HOST), Some(&b"a"[..]));
    let mut edits = Edits::default();
    let mut sink = edits.begin(view);
    sink.drop_all("x-odd");
    sink.set(&HOST, b"b");
    sink.set(&HOST, b"c");
    sink.append(&CONTENT_TYPE, b"text/plain");
    // A line break in a value would begin another field.
    sink.append(&CONTENT_TYPE, b"a\r\nevil: yes");
    let mut out = Vec::new();
    edits.write(view, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "Empty: \r\nhost: c\r\ncontent-type: text/plain\r\n");
}

#[test]
fn answers_are_framed_one_way_only() {
    let head =
        answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nconnection: x, Close\r\n\r\nhello").unwrap().unwrap();
    assert_eq!((head.status.as_u16(), head.length, head.chunked, head.closes), (200, Some(5), false, true));
    let head =
        answer("HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\nContent-Length: 5\r\n\r\n").unwrap().unwrap();
    assert_eq!((head.length, head.chunked, head.closes), (None, true, true));
    assert!(answer("HTTP/1.0 200 OK\r\n\r\n").unwrap().unwrap().closes);
    assert_eq!(answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"), Ok(None));
    for fields in [
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "X: a\r\n folded\r\n",
    ] {
        assert!(answer(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).is_err(), "{fields:?}");
    }
    assert!(answer("SSH-2.0-x\r\n\r\n").is_err());
    assert!(answer(&"x".repeat(1 << 21)).is_err());
}

#[derive(Debug, Clone)]
enum Edit {
    Set(usize, String),
    Append(usize, String),
    Remove(usize),
}

const NAMES: [&str; 4] = ["x-one", "host", "x-two", "x-three"];

fn edit() -> impl Strategy<Value = Edit> {
    let value = "[!-~]{0,4}";
    prop_oneof![
        (0..4_usize, value).prop_map(|(name, value)| Edit::Set(name, value)),
        (0..4_usize, value).prop_map(|(name, value)| Edit::Append(name, value)),
        (0..4_usize).prop_map(Edit::Remove),
    ]
}

fn apply(edits: &[Edit], sink: &mut dyn HeaderSink) {
    let name = |at: &usize| HeaderName::from_static(NAMES[*at]);
    for edit in edits {
        match edit {
            Edit::Set(at, value) => sink.set(&name(at), value.as_bytes()),
            Edit::Append(at, value) => sink.append(&name(at), value.as_bytes()),
            Edit::Remove(at) => sink.remove(&name(at)),
        }
    }
}

proptest! {
    #[test]
    fn edits_do_what_they_do_to_a_header_map(
        received in prop::collection::vec((0..4_usize, "[!-~]{0,4}"), 0..8),
        steps in prop::collection::vec(edit(), 0..12),
    ) {
        let mut map = HeaderMap::new();
        let mut head = "GET / HTTP/1.1\r\n".to_owned();
        for (name, value) in &received {
            write!(head, "{}: {value}\r\n", NAMES[*name]).unwrap();
            map.append(NAMES[*name], HeaderValue::try_from(value).unwrap());
        }
        head.push_str("\r\n");
        let fields = parsed(head.as_bytes());
        let view = View::new(head.as_bytes(), &fields);
        let mut edits = Edits::default();
        apply(&steps, &mut edits.begin(view));
        apply(&steps, &mut map);
        let mut out = b"GET / HTTP/1.1\r\n".to_vec();
        edits.write(view, &mut out);
        out.extend_from_slice(b"\r\n");
        let edited = parsed(&out);
        let edited = View::new(&out, &edited);
        for name in NAMES {
            let ours: Vec<_> = edited.all(name).collect();
            let theirs: Vec<_> = map.get_all(name).iter().map(HeaderValue::as_bytes).collect();
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), front in 0..4_usize) {
        let front = ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 ", "HTTP/1.1 200 OK\r\nTransfer-Encoding: "][front];
        let mut whole = front.as_bytes().to_vec();
        whole.extend(bytes);
        whole.extend_from_slice(b"\r\n\r\n");
        let mut fields = Vec::new();
        if let Ok(Some(head)) = ResponseHead::read(&whole, 0, &mut fields) {
            prop_assert!(head.len <= whole.len());
            let _ = (head.phrase.of(&whole), View::new(&whole, &fields).iter().count());
        }
    }
}
