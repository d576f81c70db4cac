use super::*;

fn line(unit: &str, included: u64, amount: &str, per: u64) -> PriceLine {
    PriceLine { unit: unit.into(), included, amount: amount.into(), currency: "EUR".into(), per }
}

fn used(admitted: u64) -> Used {
    Used {
        time: "2026-11-01T00:00:00+01:00".into(),
        consumer: "shop/alice".into(),
        plan: "shop/gold".into(),
        product: "shop/api".into(),
        admitted,
        request_bytes: 10,
        response_bytes: 90,
    }
}

#[test]
fn amounts_are_exact_decimals() {
    let table = [
        (line("requests", 0, "0.1", 1), 3, "0.30"),
        (line("requests", 50, "0.10", 10), 100, "0.50"),
        (line("requests", 100, "1", 1), 99, "0.00"),
        (line("requests", 0, "1", 3), 1, "0.33333333"),
        (line("requests", 0, "0.00000001", 2), 1, "0.00"),
        (line("requests", 0, "0.00000003", 2), 1, "0.00000002"),
        (line("requests", 0, "0.01", 1), 1_000_000_000_000, "10000000000.00"),
    ];
    for (line, quantity, expected) in table {
        let (_, amount) = line.price(quantity).unwrap();
        assert_eq!(plain(amount), expected, "{line:?} × {quantity}");
    }
}

#[test]
fn mistakes_are_named() {
    assert!(matches!(line("requests", 0, "1e3x", 1).price(1), Err(PriceError::Amount(_))));
    assert!(matches!(line("requests", 0, "-1", 1).price(1), Err(PriceError::Amount(_))));
    assert_eq!(line("requests", 0, "1", 0).price(1), Err(PriceError::Per));
    let huge = line("requests", 0, "79228162514264337593543950335", 1);
    assert_eq!(huge.price(2), Err(PriceError::Overflow(2)));
    let prices = BTreeMap::from([("shop/gold".to_owned(), vec![line("tokens", 0, "1", 1)])]);
    assert!(matches!(charge(&[used(1)], &prices, &BTreeMap::new(), |_| true), Err(PriceError::Unit(_))));
}

#[test]
fn lines_say_who_what_and_when() {
    let prices = BTreeMap::from([(
        "shop/gold".to_owned(),
        vec![line("requests", 1, "0.5", 1), line("bytes", 0, "1", 100)],
    )]);
    let ids = BTreeMap::from([("shop/alice".to_owned(), "C-1".to_owned())]);
    let free = Used { plan: "shop/free".into(), ..used(7) };
    let charges = charge(&[used(3), free], &prices, &ids, |month| month == "2026-11").unwrap();
    let seen: Vec<_> =
        charges.iter().map(|c| (c.unit.as_str(), c.quantity, c.billable, c.amount.as_str())).collect();
    assert_eq!(seen, [("requests", 3, 2, "1.00"), ("bytes", 100, 100, "1.00")]);
    assert!(charges.iter().all(|c| c.whole_month && c.billing_id.as_deref() == Some("C-1")));
}
