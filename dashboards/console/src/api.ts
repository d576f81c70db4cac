// The analytics API as the console reads it (docs/reference/openapi.json), and a hook that keeps an answer fresh.

import { useEffect, useRef, useState } from "react";

import type { components } from "./schema";

type Schemas = components["schemas"];

export type Point = Schemas["TimedPoint"];
export type Quota = Schemas["Quota"];
export type Alert = Schemas["Alert"];
export type Live = Schemas["Live"];
export type TopRow = Schemas["TopEntry"];
export type Consumer = Schemas["Consumer"];
export type ConsumerDetail = Schemas["Detail"];
export type GatewayState = Schemas["GatewayView"];
export type Pipeline = Schemas["Pipeline"];

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
