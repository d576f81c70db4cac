import type { TopRow } from "../api";
import { bytes, count, milliseconds } from "../format";
import { Table } from "./Table";

export function TopTable({ label, rows, link }: { label: string; rows: TopRow[]; link?: string }) {
  const name = (row: TopRow) => row.display_name || row.key || "(none)";
  return (
    <Table
      label={label}
      rows={rows}
      name={(row) => row.key}
      empty="No requests yet."
      columns={[
        {
          title: "Name",
          show: (row) => (link && row.key ? <a href={`#/${link}/${row.key}`}>{name(row)}</a> : name(row)),
        },
        { title: "Requests", number: true, show: (row) => count(row.requests) },
        { title: "Refused", number: true, show: (row) => count(row.refused) },
        { title: "Errors", number: true, show: (row) => count(row.errors) },
        { title: "Sent", number: true, show: (row) => bytes(row.response_bytes) },
        { title: "p95", number: true, show: (row) => milliseconds(row.p95_ms) },
      ]}
    />
  );
}
