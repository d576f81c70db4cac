use super::*;
use proptest::prelude::*;

/// Any record that a gateway could make.
pub(crate) fn any_record() -> impl Strategy<Value = Record> {
    let ids = (any::<[u8; 16]>(), any::<[u8; 16]>(), any::<[u32; 10]>());
    let codes = (0..Method::ALL.len(), 0..Protocol::ALL.len(), 0..Reason::ALL.len());
    let numbers = (any::<[u64; 3]>(), any::<[u32; 3]>(), any::<[u16; 3]>(), any::<u8>());
    let charges = proptest::collection::vec(any::<(u64, u64)>(), 0..=MAX_CHARGES);
    (ids, codes, numbers, charges, ".{0,80}", ".{0,200}").prop_map(
        |(
            (request_id, trace_id, names),
            (method, protocol, reason),
            (longs, ints, shorts, attempts),
            charges,
            host,
            path,
        )| {
            let mut record = Record::at(longs[0]);
            (record.request_id, record.trace_id) = (request_id, trace_id);
            (record.gateway, record.listener, record.route) =
                (NameId(names[0]), NameId(names[1]), NameId(names[2]));
            (record.rule, record.product, record.plan) =
                (NameId(names[3]), NameId(names[4]), NameId(names[5]));
            (record.consumer, record.subscription) = (NameId(names[6]), NameId(names[7]));
            (record.backend, record.endpoint) = (NameId(names[8]), NameId(names[9]));
            record.method = Method::ALL[method];
            record.protocol = Protocol::ALL[protocol];
            record.reason = Reason::ALL[reason];
            (record.request_bytes, record.response_bytes) = (longs[1], longs[2]);
            (record.duration_us, record.upstream_us, record.n) = (ints[0], ints[1], ints[2]);
            (record.status, record.grpc_status, record.flags) =
                (shorts[0], shorts[1] as i16, Flags(shorts[2]));
            record.attempts = attempts;
            for (lease, units) in charges {
                assert!(record.charges.push(Charge { lease, units }));
            }
            (record.host, record.path) = (Text::new(&host), Text::new(&path));
            record
        },
    )
}

proptest! {
    #[test]
    fn comes_back_as_it_went(record in any_record(), position in any::<u64>()) {
        let mut bytes = [0xaa; MAX_ENTRY_BYTES];
        let used = encode(&record, position, &mut bytes);
        prop_assert_eq!(used % 8, 0);
        prop_assert_eq!(decode(&bytes, position), Ok((record, used)));
        prop_assert_eq!(decode(&bytes[..used], position), Ok((record, used)));
        prop_assert_eq!(decode(&bytes, position.wrapping_add(8)), Err(EntryError::Checksum), "another place");
        prop_assert_eq!(decode(&bytes[..used - 8], position), Err(EntryError::Short));
    }

    #[test]
    fn any_changed_bit_is_seen(record in any_record(), position in any::<u64>(), bit in any::<usize>()) {
        let mut bytes = [0; MAX_ENTRY_BYTES];
        let used = encode(&record, position, &mut bytes);
        bytes[bit / 8 % used] ^= 1 << (bit % 8);
        prop_assert!(decode(&bytes, position).is_err());
    }

    #[test]
    fn hostile_bytes_are_refused_or_read(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), sign in any::<bool>()) {
        // With a good checksum in front, the payload's own checks are reached.
        if sign && bytes.len() >= HEADER_BYTES {
            let total = bytes.len() / 8 * 8;
            let payload = (total - HEADER_BYTES).min(MAX_ENTRY_BYTES - HEADER_BYTES);
            bytes[..2].copy_from_slice(&(payload as u16).to_le_bytes());
            bytes[2..4].copy_from_slice(&KIND_RECORD.to_le_bytes());
            let end = (HEADER_BYTES + payload).next_multiple_of(8).min(total);
            let crc = checksum(7, &bytes[..4], &bytes[HEADER_BYTES..end]);
            bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        }
        if let Ok((record, used)) = decode(&bytes, 7) {
            let mut again = [0; MAX_ENTRY_BYTES];
            prop_assert_eq!(encode(&record, 7, &mut again), used);
            prop_assert_eq!(decode(&again, 7), Ok((record, used)));
        }
    }
}

#[test]
fn zeros_are_no_entry() {
    assert_eq!(decode(&[0; 64], 0), Err(EntryError::Length));
    assert_eq!(decode(&[], 0), Err(EntryError::Short));
}

#[test]
fn a_full_record_fits() {
    let mut record = Record::at(u64::MAX);
    while record.charges.push(Charge { lease: u64::MAX, units: u64::MAX }) {}
    record.host = Text::new(&"h".repeat(500));
    record.path = Text::new(&"p".repeat(500));
    let mut bytes = [0; MAX_ENTRY_BYTES];
    assert_eq!(encode(&record, 0, &mut bytes), MAX_ENTRY_BYTES);
    assert_eq!(decode(&bytes, 0).unwrap().0, record);
}
