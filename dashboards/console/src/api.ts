// The analytics API as the console reads it (docs/reference/openapi.json), and a hook that keeps an answer fresh.

import { useEffect, useRef, useState } from "react";

export interface Point {
  time: string;
  requests: number;
  errors: number;
  refused: number;
  response_bytes: number;
  p50_ms: number | null;
  p95_ms: number | null;
  p99_ms: number | null;
}

export interface Forecast {
  at_end: number | null;
  exhausted_at: string | null;
  rate_per_second: number;
}

export interface Quota {
  limit: string;
  subject: string;
  consumer: string;
  unit: string;
  mode: string;
  max: number;
  zone: string;
  window: string;
  window_start: string;
  window_end: string;
  used: number;
  leased: number;
  remaining: number;
  ratio: number;
  forecast: Forecast | null;
}

export interface Delivery {
  channel: string;
  target: string;
  state: string;
  attempts: number;
  error: string | null;
}

export interface Alert {
  id: string;
  kind: string;
  limit: string;
  consumer: string;
  threshold: number | null;
  used: number;
  max: number;
  unit: string;
  fired_at: string;
  deliveries?: Delivery[];
}

export interface Live {
  now: string;
  complete_through: string | null;
  last: {
    seconds: number;
    requests: number;
    errors: number;
    refused: number;
    rps: number;
    p50_ms: number | null;
    p99_ms: number | null;
  };
  points: Point[];
  quotas: Quota[];
  alerts: Alert[];
  gateways: number;
  spool_bytes: number;
  declared_lost: number;
  store_up: boolean;
  version: string;
}

export interface TopRow {
  key: string;
  display_name?: string;
  requests: number;
  errors: number;
  refused: number;
  response_bytes: number;
  p50_ms: number | null;
  p95_ms: number | null;
  p99_ms: number | null;
}

export interface Consumer {
  name: string;
  display_name: string;
  billing_id: string | null;
  groups: string[];
  requests: number;
  errors: number;
  refused: number;
  last_seen: string | null;
  quotas: Quota[];
  subscriptions?: { name: string; product: string; plan: string; state: string }[];
  routes?: TopRow[];
  reasons?: { reason: string; requests: number }[];
}

export interface GatewayState {
  gateway: string;
  hostname: string;
  address: string;
  state: string;
  epoch: number;
  snapshot_version: string;
  silent: boolean;
  complete_through: string | null;
  spool_bytes: number;
  spool_capacity_bytes: number;
  spool_segments: number;
  degraded: boolean;
  appended: number;
  audited: number;
  aggregated: number;
  declared_lost: number;
}

export interface Pipeline {
  complete_through: string | null;
  lag_ms: number | null;
  store: { up: boolean; version: string | null; rows: number | null; bytes: number | null };
  declared_lost: number;
  segments_pending: number;
  conflicts: number;
  gateways: GatewayState[];
}

const TOKEN = "turnpike-token";

// `#token=…` in the address, as `turnpike up` prints it, signs in and is removed from the address at once.
export function takeTokenFromAddress(): void {
  const match = /^#token=(.+)$/.exec(location.hash);
  if (match?.[1]) {
    sessionStorage.setItem(TOKEN, decodeURIComponent(match[1]));
    history.replaceState(null, "", "#/");
  }
}

export const signedIn = (): boolean => sessionStorage.getItem(TOKEN) !== null;
export const signIn = (token: string): void => sessionStorage.setItem(TOKEN, token);
export const signOut = (): void => sessionStorage.removeItem(TOKEN);

export class Refused extends Error {}

async function get<T>(path: string, signal: AbortSignal): Promise<T> {
  const headers = { authorization: `Bearer ${sessionStorage.getItem(TOKEN) ?? ""}` };
  const response = await fetch(path, { headers, signal });
  if (response.status === 401) throw new Refused("The token is not right.");
  if (!response.ok) {
    const problem = (await response.json().catch(() => ({}))) as { detail?: string; title?: string };
    throw new Error(problem.detail ?? problem.title ?? `${response.status} ${response.statusText}`);
  }
  return (await response.json()) as T;
}

export interface Fresh<T> {
  data: T | null;
  error: Error | null;
}

/** The answer to `path`, asked again every `everyMs` while the page is visible. The last answer stays on errors. */
export function useFresh<T>(path: string, everyMs: number): Fresh<T> {
  const [state, setState] = useState<Fresh<T>>({ data: null, error: null });
  const asked = useRef(path);
  useEffect(() => {
    const controller = new AbortController();
    if (asked.current !== path) setState({ data: null, error: null });
    asked.current = path;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = async () => {
      if (!document.hidden) {
        try {
          const data = await get<T>(path, controller.signal);
          setState({ data, error: null });
        } catch (error) {
          if (controller.signal.aborted) return;
          setState((old) => ({ data: old.data, error: error as Error }));
        }
      }
      timer = setTimeout(ask, everyMs);
    };
    void ask();
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [path, everyMs]);
  return state;
}
