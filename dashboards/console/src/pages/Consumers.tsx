import { type Consumer, useFresh } from "../api";
import { ago, count } from "../format";
import { Panel, Trouble } from "../parts/Panel";
import { QuotaBar } from "../parts/QuotaBar";
import { Table } from "../parts/Table";

const fullest = (consumer: Consumer) =>
  [...consumer.quotas].sort((a, b) => b.ratio - a.ratio)[0];

export function Consumers() {
  const { data, error } = useFresh<{ consumers: Consumer[] }>("/v1/consumers", 3000);
  const now = Date.now();
  return (
    <>
      <h1>Consumers</h1>
      <Trouble error={error} />
      <Panel title="Last 24 hours">
        <Table
          label="Consumers"
          rows={data?.consumers ?? []}
          name={(row) => row.name}
          empty={data ? "No consumer is defined." : "Loading…"}
          columns={[
            {
              title: "Consumer",
              show: (row) => (
                <a href={`#/consumers/${row.name}`}>{row.display_name || row.name}</a>
              ),
            },
            { title: "Requests", number: true, show: (row) => count(row.requests) },
            { title: "Refused", number: true, show: (row) => count(row.refused) },
            { title: "Errors", number: true, show: (row) => count(row.errors) },
            { title: "Last seen", show: (row) => ago(row.last_seen, now) },
            {
              title: "Fullest quota",
              show: (row) => {
                const quota = fullest(row);
                return quota ? <QuotaBar quota={quota} /> : "–";
              },
            },
          ]}
        />
      </Panel>
    </>
  );
}
