import { type Alert, useFresh } from "../api";
import { AlertTable } from "../parts/AlertTable";
import { Panel, Trouble } from "../parts/Panel";

export function AlertsPage() {
  const { data, error } = useFresh<{ alerts: Alert[] }>("/v1/alerts", 2000);
  return (
    <>
      <h1>Alerts</h1>
      <Trouble error={error} />
      <Panel title="Newest first">
        <AlertTable alerts={data?.alerts ?? []} />
      </Panel>
    </>
  );
}
