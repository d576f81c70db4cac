//! A gateway as far as the service can see: it seals records and ships them.

use std::sync::Arc;

use analytics_record::segment::{Flavour, Hash, Seal, Source, seal};
use analytics_record::wire::{Heartbeat, HeartbeatAnswer, PutAnswer, SegmentState, SpoolHealth, StreamFacts};
use analytics_record::{Charge, Charges, GatewayId, Method, NameId, Reason, Record, Stream, Text};
use jiff::Timestamp;

use crate::service::Service;

const NAMES: [&str; 8] = [
    "",
    "__other__",
    "shop/gateway",
    "shop/orders",
    "shop/alice",
    "shop/gold",
    "shop/api",
    "shop/alice-gold",
];

/// A sealed segment.
pub(crate) struct Sealed {
    pub(crate) seq: u32,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) struct Gateway {
    pub(crate) id: GatewayId,
    pub(crate) epoch: u32,
    pub(crate) next_seq: u32,
    through_us: u64,
}

/// A record of Alice's, `index` milliseconds after `start`.
pub(crate) fn record(start: Timestamp, index: u64, reason: Reason, status: u16) -> Record {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&start.as_millisecond().to_be_bytes());
    id[8..].copy_from_slice(&(index + 1).to_be_bytes());
    let mut charges = Charges::NONE;
    if reason == Reason::Ok {
        assert!(charges.push(Charge { lease: 7, units: 1 }));
    }
    Record {
        request_id: id,
        gateway: NameId(2),
        route: NameId(3),
        consumer: NameId(4),
        plan: NameId(5),
        product: NameId(6),
        subscription: NameId(7),
        method: Method::Get,
        status,
        reason,
        duration_us: 1_000 + index as u32,
        upstream_us: 800,
        request_bytes: 10,
        response_bytes: 100,
        charges,
        host: Text::new("shop.example"),
        path: Text::new("/orders"),
        ..Record::at(start.as_microsecond() as u64 + index * 1_000)
    }
}

impl Gateway {
    pub(crate) fn new(number: u8) -> Self {
        let mut id = [0; 16];
        (id[6], id[8], id[15]) = (0x70, 0x80, number);
        Self { id: GatewayId(id), epoch: 1, next_seq: 0, through_us: 0 }
    }

    pub(crate) fn stream(&self) -> Stream {
        Stream { gateway: self.id, epoch: self.epoch, shard: 0 }
    }

    /// Seals records as the next segment.
    pub(crate) fn seal(&mut self, records: &[Record]) -> Sealed {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.through_us = self.through_us.max(records.iter().map(|record| record.ts_us).max().unwrap());
        let about = Seal {
            name: self.stream().segment(seq),
            flavour: Flavour::Detail,
            source: Source::Ring { from: u64::from(seq), to: u64::from(seq) + 1 },
            complete_through_us: self.through_us,
            wall_anchor_us: records[0].ts_us,
            previous: Hash::ZERO,
        };
        let text = |id: NameId| -> Arc<str> { NAMES[id.0 as usize].into() };
        Sealed { seq, bytes: seal(&about, records, &text).unwrap().bytes }
    }

    pub(crate) async fn put(&self, service: &Service, sealed: &Sealed) -> SegmentState {
        let path = format!("/v1/segments/{}", self.stream().segment(sealed.seq));
        let answer =
            service.request(reqwest::Method::PUT, &path).body(sealed.bytes.clone()).send().await.unwrap();
        let status = answer.status();
        let body = answer.bytes().await.unwrap();
        assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice::<PutAnswer>(&body).unwrap().state
    }

    pub(crate) async fn heartbeat(&self, service: &Service, closed: bool) -> HeartbeatAnswer {
        self.heartbeat_with(service, &[(self.stream(), self.next_seq, closed)]).await
    }

    /// A heartbeat about streams with their next number, closed or not.
    pub(crate) async fn heartbeat_with(
        &self,
        service: &Service,
        streams: &[(Stream, u32, bool)],
    ) -> HeartbeatAnswer {
        let facts = |(stream, next_seq, closed): &(Stream, u32, bool)| StreamFacts {
            stream: *stream,
            first_held: 0,
            next_seq: *next_seq,
            closed: *closed,
            complete_through_us: self.through_us,
        };
        let heartbeat = Heartbeat {
            gateway: self.id,
            epoch: self.epoch,
            now_us: Timestamp::now().as_microsecond() as u64,
            streams: streams.iter().map(facts).collect(),
            lost: Vec::new(),
            spool: SpoolHealth::default(),
        };
        let (status, body) = service.post("/v1/spool/heartbeat", &heartbeat).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_value(body).unwrap()
    }

    /// Declares that nothing will come before `through`.
    pub(crate) fn quiet_through(&mut self, through: Timestamp) {
        self.through_us = self.through_us.max(through.as_microsecond() as u64);
    }

    /// Waits until all segments are in the store.
    pub(crate) async fn audited(&self, service: &Service) {
        service
            .until("all segments are audited", async || {
                let answer = self.heartbeat(service, false).await;
                (answer.marks[0].audited == self.next_seq).then_some(())
            })
            .await;
    }
}
