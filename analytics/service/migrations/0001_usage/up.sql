-- Generated from analytics_record::table and analytics_query::rollup; compared by a test.
CREATE TABLE IF NOT EXISTS `{database}`.`usage_records` (
  `ts` DateTime64(6, 'UTC') COMMENT 'when the request ended, UTC, microseconds' CODEC(Delta, ZSTD(1)),
  `request_id` UUID COMMENT 'id of the request; zero when aggregated' CODEC(ZSTD(1)),
  `trace_id` FixedString(16) COMMENT 'W3C trace id, raw bytes; zero when not sampled' CODEC(ZSTD(1)),
  `gateway` LowCardinality(String) COMMENT 'Gateway, namespace/name' CODEC(ZSTD(1)),
  `listener` LowCardinality(String) COMMENT 'listener of the Gateway' CODEC(ZSTD(1)),
  `route` LowCardinality(String) COMMENT 'route, namespace/name; empty when none matched' CODEC(ZSTD(1)),
  `rule` LowCardinality(String) COMMENT 'rule of the route: its name or index' CODEC(ZSTD(1)),
  `product` LowCardinality(String) COMMENT 'API product' CODEC(ZSTD(1)),
  `plan` LowCardinality(String) COMMENT 'plan of the subscription' CODEC(ZSTD(1)),
  `consumer` LowCardinality(String) COMMENT 'consumer; empty when anonymous' CODEC(ZSTD(1)),
  `subscription` LowCardinality(String) COMMENT 'subscription' CODEC(ZSTD(1)),
  `backend` LowCardinality(String) COMMENT 'backend chosen last' CODEC(ZSTD(1)),
  `endpoint` LowCardinality(String) COMMENT 'address:port chosen last' CODEC(ZSTD(1)),
  `method` LowCardinality(String) COMMENT 'request method; _OTHER when unknown' CODEC(ZSTD(1)),
  `protocol` LowCardinality(String) COMMENT 'h1, h2, h2c, grpc or websocket' CODEC(ZSTD(1)),
  `status` UInt16 COMMENT 'HTTP status; 499 when the client left before one was chosen' CODEC(ZSTD(1)),
  `grpc_status` Int16 COMMENT 'gRPC status; -1 when there was none' CODEC(ZSTD(1)),
  `reason` LowCardinality(String) COMMENT 'why the request ended so; closed vocabulary' CODEC(ZSTD(1)),
  `flags` UInt16 COMMENT 'one-bit facts; bit 15: the row stands for n requests' CODEC(ZSTD(1)),
  `attempts` UInt8 COMMENT 'attempts at upstreams' CODEC(ZSTD(1)),
  `duration_us` UInt32 COMMENT 'first byte in to last byte out, microseconds; mean over n' CODEC(T64, ZSTD(1)),
  `upstream_us` UInt32 COMMENT 'to the upstream\'s first byte, microseconds; mean over n' CODEC(T64, ZSTD(1)),
  `request_bytes` UInt64 COMMENT 'request body bytes, total over n' CODEC(T64, ZSTD(1)),
  `response_bytes` UInt64 COMMENT 'response body bytes, total over n' CODEC(T64, ZSTD(1)),
  `charge_lease` Array(UInt64) COMMENT 'leases charged' CODEC(ZSTD(1)),
  `charge_units` Array(UInt64) COMMENT 'units charged to each lease, total over n' CODEC(ZSTD(1)),
  `n` UInt32 COMMENT 'requests this row stands for: always sum(n), never count()' CODEC(ZSTD(1)),
  `host` String COMMENT 'requested host, at most 64 bytes' CODEC(ZSTD(1)),
  `path` String COMMENT 'path without query, at most 128 bytes' CODEC(ZSTD(1)),
  `segment_gateway` UUID COMMENT 'spool that sealed the row\'s segment' CODEC(ZSTD(1)),
  `segment_epoch` UInt32 COMMENT 'life of that gateway' CODEC(ZSTD(1)),
  `segment_shard` UInt8 COMMENT 'ring within that life' CODEC(ZSTD(1)),
  `segment_seq` UInt32 COMMENT 'number of the segment in its stream' CODEC(ZSTD(1)),
  `segment_row` UInt32 COMMENT 'number of the row in its segment' CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toDate(ts)
ORDER BY (toStartOfHour(ts), consumer, route, ts)
TTL toDate(ts) + INTERVAL 35 DAY DELETE
SETTINGS ttl_only_drop_parts = 1, fsync_after_insert = 1, fsync_part_directory = 1, non_replicated_deduplication_window = 100000, replicated_deduplication_window = 20000, replicated_deduplication_window_seconds = 86400;
CREATE TABLE IF NOT EXISTS usage_1h (
  hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
  consumer LowCardinality(String) CODEC(ZSTD(1)),
  plan LowCardinality(String) CODEC(ZSTD(1)),
  product LowCardinality(String) CODEC(ZSTD(1)),
  subscription LowCardinality(String) CODEC(ZSTD(1)),
  route LowCardinality(String) CODEC(ZSTD(1)),
  rule LowCardinality(String) CODEC(ZSTD(1)),
  gateway LowCardinality(String) CODEC(ZSTD(1)),
  listener LowCardinality(String) CODEC(ZSTD(1)),
  status UInt16 CODEC(ZSTD(1)),
  reason LowCardinality(String) CODEC(ZSTD(1)),
  method LowCardinality(String) CODEC(ZSTD(1)),
  protocol LowCardinality(String) CODEC(ZSTD(1)),
  n UInt64 CODEC(ZSTD(1)),
  request_bytes UInt64 CODEC(ZSTD(1)),
  response_bytes UInt64 CODEC(ZSTD(1)),
  duration_us_sum UInt64 CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toDate(hour)
ORDER BY (hour, consumer, plan, product, subscription, route, rule, gateway, listener, status, reason, method, protocol)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
CREATE TABLE IF NOT EXISTS usage_1h_staging (
  hour DateTime('UTC') CODEC(Delta, ZSTD(1)),
  consumer LowCardinality(String) CODEC(ZSTD(1)),
  plan LowCardinality(String) CODEC(ZSTD(1)),
  product LowCardinality(String) CODEC(ZSTD(1)),
  subscription LowCardinality(String) CODEC(ZSTD(1)),
  route LowCardinality(String) CODEC(ZSTD(1)),
  rule LowCardinality(String) CODEC(ZSTD(1)),
  gateway LowCardinality(String) CODEC(ZSTD(1)),
  listener LowCardinality(String) CODEC(ZSTD(1)),
  status UInt16 CODEC(ZSTD(1)),
  reason LowCardinality(String) CODEC(ZSTD(1)),
  method LowCardinality(String) CODEC(ZSTD(1)),
  protocol LowCardinality(String) CODEC(ZSTD(1)),
  n UInt64 CODEC(ZSTD(1)),
  request_bytes UInt64 CODEC(ZSTD(1)),
  response_bytes UInt64 CODEC(ZSTD(1)),
  duration_us_sum UInt64 CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toDate(hour)
ORDER BY (hour, consumer, plan, product, subscription, route, rule, gateway, listener, status, reason, method, protocol)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
