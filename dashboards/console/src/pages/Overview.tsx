import { type Live, type TopRow, useFresh } from "../api";
import { count, milliseconds, percent } from "../format";
import { AlertTable } from "../parts/AlertTable";
import { Latency, Traffic } from "../parts/Chart";
import { Panel, Tile, Trouble } from "../parts/Panel";
import { QuotaBar } from "../parts/QuotaBar";
import { TopTable } from "../parts/TopTable";

export function Overview() {
  const { data, error } = useFresh<Live>("/v1/live", 1000);
  const consumers = useFresh<{ rows: TopRow[] }>("/v1/top?by=consumer&limit=8", 3000);
  const routes = useFresh<{ rows: TopRow[] }>("/v1/top?by=route&limit=8", 3000);
  if (data === null) return error ? <Trouble error={error} /> : <p className="muted">Loading…</p>;
  const { last } = data;
  const errors = last.requests === 0 ? 0 : last.errors / last.requests;
  return (
    <>
      <h1>Overview</h1>
      <Trouble error={error} />
      <dl className="tiles" aria-label={`The last ${last.seconds} seconds`}>
        <Tile label="Requests per second" value={last.rps.toFixed(1)} />
        <Tile label="Errors" value={percent(errors)} mood={errors > 0.01 ? "bad" : "good"} />
        <Tile label="Refused" value={count(last.refused)} mood={last.refused > 0 ? "warning" : "plain"} />
        <Tile label="p50" value={milliseconds(last.p50_ms)} />
        <Tile label="p99" value={milliseconds(last.p99_ms)} />
        <Tile label="Records lost" value={count(data.declared_lost)} mood={data.declared_lost > 0 ? "bad" : "good"} />
      </dl>
      <div className="columns">
        <Panel title="Traffic, last minute">
          <Traffic points={data.points} />
        </Panel>
        <Panel title="Time to answer, last minute">
          <Latency points={data.points} />
        </Panel>
        <Panel title="Top consumers, last hour">
          <TopTable label="Top consumers" rows={consumers.data?.rows ?? []} link="consumers" />
        </Panel>
        <Panel title="Top routes, last hour">
          <TopTable label="Top routes" rows={routes.data?.rows ?? []} />
        </Panel>
        <Panel title="Fullest quotas">
          {data.quotas.length === 0 && <p className="muted">No quota is in use.</p>}
          {data.quotas.slice(0, 5).map((quota) => (
            <QuotaBar key={quota.limit + quota.subject} quota={quota} />
          ))}
        </Panel>
        <Panel title="Newest alerts">
          <AlertTable alerts={data.alerts} />
        </Panel>
      </div>
    </>
  );
}
