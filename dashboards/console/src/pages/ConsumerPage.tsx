import { type ConsumerDetail, type Point, useFresh } from "../api";
import { count } from "../format";
import { Latency, Traffic } from "../parts/Chart";
import { Panel, Tile, Trouble } from "../parts/Panel";
import { QuotaBar } from "../parts/QuotaBar";
import { Table } from "../parts/Table";
import { TopTable } from "../parts/TopTable";

interface Series {
  series: { key: string; points: Point[] }[];
}

export function ConsumerPage({ name }: { name: string }) {
  const path = name.split("/").map(encodeURIComponent).join("/");
  const { data, error } = useFresh<ConsumerDetail>(`/v1/consumers/${path}`, 2000);
  const series = useFresh<Series>(`/v1/timeseries?consumer=${encodeURIComponent(name)}&from=now-15m`, 2000);
  const points = series.data?.series[0]?.points ?? [];
  return (
    <>
      <p>
        <a href="#/consumers">← Consumers</a>
      </p>
      <h1>{data?.display_name || name}</h1>
      <Trouble error={error} />
      {data && (
        <>
          <dl className="tiles" aria-label="Last 24 hours">
            <Tile label="Requests, 24 h" value={count(data.requests)} />
            <Tile label="Refused" value={count(data.refused)} mood={data.refused > 0 ? "warning" : "plain"} />
            <Tile label="Errors" value={count(data.errors)} mood={data.errors > 0 ? "bad" : "good"} />
          </dl>
          <div className="columns">
            <Panel title="Quotas">
              {data.quotas.length === 0 && <p className="muted">No quota applies, or none has been used.</p>}
              {data.quotas.map((quota) => (
                <QuotaBar key={quota.limit + quota.subject} quota={quota} />
              ))}
            </Panel>
            <Panel title="Traffic, last 15 minutes">
              <Traffic points={points} />
            </Panel>
            <Panel title="Time to answer, last 15 minutes">
              <Latency points={points} />
            </Panel>
            <Panel title="Routes">
              <TopTable label="Routes" rows={data.routes ?? []} />
            </Panel>
            <Panel title="Why requests were refused">
              <Table
                label="Reasons"
                rows={(data.reasons ?? []).filter((row) => row.reason !== "ok")}
                name={(row) => row.reason}
                empty="None was."
                columns={[
                  { title: "Reason", show: (row) => row.reason },
                  { title: "Requests", number: true, show: (row) => count(row.requests) },
                ]}
              />
            </Panel>
            <Panel title="Subscriptions">
              <Table
                label="Subscriptions"
                rows={data.subscriptions ?? []}
                name={(row) => row.name}
                empty="None."
                columns={[
                  { title: "Product", show: (row) => row.product },
                  { title: "Plan", show: (row) => row.plan },
                  { title: "State", show: (row) => row.state },
                ]}
              />
            </Panel>
          </div>
        </>
      )}
    </>
  );
}
