import { type GatewayState, type Pipeline, useFresh } from "../api";
import { bytes, count, milliseconds, moment } from "../format";
import { Panel, Tile, Trouble } from "../parts/Panel";
import { Table } from "../parts/Table";

export function PipelinePage() {
  const { data, error } = useFresh<Pipeline>("/v1/pipeline", 1000);
  if (data === null) return error ? <Trouble error={error} /> : <p className="muted">Loading…</p>;
  const lag = data.lag_ms === null || data.lag_ms === undefined ? "–" : `${(data.lag_ms / 1000).toFixed(1)} s`;
  return (
    <>
      <h1>Pipeline</h1>
      <Trouble error={error} />
      <dl className="tiles">
        <Tile label="Store" value={data.store.up ? "up" : "away"} mood={data.store.up ? "good" : "bad"} />
        <Tile label="Behind by" value={lag} mood={(data.lag_ms ?? 0) > 15_000 ? "warning" : "good"} />
        <Tile label="Records lost" value={count(data.declared_lost)} mood={data.declared_lost > 0 ? "bad" : "good"} />
        <Tile label="Conflicts" value={count(data.conflicts)} mood={data.conflicts > 0 ? "bad" : "good"} />
        <Tile label="Segments under way" value={count(data.segments_pending)} />
        <Tile label="Rows in the store" value={count(data.store.rows)} />
      </dl>
      <Panel title="Gateways">
        <Table
          label="Gateways"
          rows={data.gateways}
          name={(row) => row.gateway}
          empty="No gateway has reported yet."
          columns={COLUMNS}
        />
      </Panel>
      <p className="muted">Complete through {moment(data.complete_through)}.</p>
    </>
  );
}

const COLUMNS = [
  { title: "Gateway", show: (row: GatewayState) => row.hostname || row.gateway },
  { title: "State", show: (row: GatewayState) => (row.silent ? "silent" : row.state) },
  { title: "Version", show: (row: GatewayState) => row.snapshot_version.slice(0, 12) || "–" },
  { title: "Connections", number: true, show: (row: GatewayState) => count(row.connections) },
  { title: "Spool", number: true, show: (row: GatewayState) => bytes(row.spool_bytes) },
  { title: "Segments", number: true, show: (row: GatewayState) => count(row.spool_segments) },
  { title: "Oldest", number: true, show: (row: GatewayState) => milliseconds(row.oldest_age_ms) },
  { title: "Counts only", number: true, show: (row: GatewayState) => count(row.counted_only) },
  { title: "Damaged files", number: true, show: (row: GatewayState) => count(row.quarantined) },
  { title: "Lost", number: true, show: (row: GatewayState) => count(row.lost) },
];
