import type { Alert } from "../api";
import { amount, moment } from "../format";
import { Table } from "./Table";

export function AlertTable({ alerts }: { alerts: Alert[] }) {
  return (
    <Table
      label="Alerts"
      rows={alerts}
      name={(alert) => alert.id}
      empty="No alert has fired."
      columns={[
        { title: "When", show: (alert) => moment(alert.fired_at) },
        { title: "Consumer", show: (alert) => alert.consumer || "(none)" },
        { title: "Limit", show: (alert) => alert.limit },
        { title: "Reached", number: true, show: reached },
        { title: "Delivery", show: deliveries },
      ]}
    />
  );
}

const reached = (alert: Alert) =>
  alert.threshold === null || alert.kind === "forecast"
    ? "forecast"
    : `${alert.threshold} % (${amount(alert.used, alert.unit)})`;

const deliveries = (alert: Alert) =>
  (alert.deliveries ?? []).map((delivery) => `${delivery.channel}: ${delivery.error ?? delivery.state}`).join(", ") || "–";
