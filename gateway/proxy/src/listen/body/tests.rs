//! The gate passes exactly the message, however its bytes arrive.

use std::fmt::Write;

use proptest::prelude::*;

use super::*;

fn chunked() -> Gate {
    Gate::for_message(&Head { len: 4, framing: Framing::Chunked })
}

fn passed(gate: &mut Gate, bytes: &[u8], step: usize) -> Result<usize, Violation> {
    let mut total = 0;
    for piece in bytes.chunks(step) {
        let mut at = 0;
        while at < piece.len() && !gate.is_complete() {
            at += gate.pass(&piece[at..])?;
        }
        total += at;
    }
    Ok(total)
}

#[test]
fn a_counted_message_ends_where_it_said() {
    let mut gate = Gate::for_message(&Head { len: 4, framing: Framing::Length(3) });
    assert_eq!(gate.pass(b"heada"), Ok(5));
    assert!(!gate.is_complete());
    assert_eq!(gate.pass(b"bcGET"), Ok(2));
    assert!(gate.is_complete());
    assert_eq!(gate.pass(b"GET"), Ok(0));
}

#[test]
fn a_tunnel_never_ends() {
    let mut gate = Gate::for_message(&Head { len: 4, framing: Framing::Tunnel });
    assert_eq!(gate.pass(&[0; 100]), Ok(100));
    assert!(!gate.is_complete());
}

#[test]
fn violations_are_refused() {
    for body in [
        "\r\n",
        "g\r\n",
        "5 \r\n",
        "-1\r\n",
        "0x5\r\n",
        "5\nabcde",
        "5\r\nabcdeX",
        "5\r\nabcde\n",
        "0\r\nA: \x01\r\n",
        "0\r\nA: b\n",
        "0\r\nA: b\r\n c\r\n",
        "1000000000000000\r\n",
        ";x\r\n",
        "5;a\x00\r\n",
        "0\r\n\rX",
    ] {
        let whole = format!("head{body}");
        assert!(passed(&mut chunked(), whole.as_bytes(), 64).is_err(), "{body:?}");
        assert!(passed(&mut chunked(), whole.as_bytes(), 1).is_err(), "{body:?}");
    }
    let endless = format!("head5;{}", "x".repeat(5_000));
    assert!(passed(&mut chunked(), endless.as_bytes(), 4_096).is_err());
}

proptest! {
    #[test]
    fn chunked_messages_end_where_they_end(
        chunks in proptest::collection::vec(1..40usize, 0..6), trailer in any::<bool>(), step in 1..50usize,
    ) {
        let mut body = String::from("head");
        for size in chunks {
            write!(body, "{size:X};ext=1\r\n{}\r\n", "z".repeat(size)).unwrap();
        }
        body.push_str(if trailer { "0\r\nDigest: x\r\n\r\n" } else { "0\r\n\r\n" });
        let whole = format!("{body}GET / HTTP/1.1\r\n");
        let mut gate = chunked();
        prop_assert_eq!(passed(&mut gate, whole.as_bytes(), step), Ok(body.len()));
        prop_assert!(gate.is_complete());
    }

    #[test]
    fn any_bytes_are_counted_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut gate = chunked();
        if let Ok(passed) = gate.pass(&bytes) {
            prop_assert!(passed <= bytes.len());
        }
    }
}
