//! Messages between gateway and analytics, and the names in paths.
#![no_main]

use analytics_record::wire::{Heartbeat, HeartbeatAnswer, PutAnswer};
use analytics_record::{GatewayId, Method, Protocol, Reason, SegmentName};
use gateway_quota::message::Reply;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = serde_json::from_str::<Heartbeat>(text);
    let _ = serde_json::from_str::<HeartbeatAnswer>(text);
    let _ = serde_json::from_str::<PutAnswer>(text);
    if let Ok(reply) = serde_json::from_str::<Reply>(text) {
        let _ = reply.check();
    }
    let _ = text.parse::<GatewayId>();
    if let Ok(name) = text.parse::<SegmentName>() {
        assert_eq!(name.to_string().parse(), Ok(name), "a name that was read is its own text");
    }
    let _ = text.parse::<Reason>();
    let _ = text.parse::<Protocol>();
    let _ = Method::from_token(text);
});
