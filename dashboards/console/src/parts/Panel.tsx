// Boxes that pages are made of.

import type { ReactNode } from "react";

export function Panel({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className="panel" aria-label={title}>
      <h2>{title}</h2>
      {children}
    </section>
  );
}

export type Mood = "good" | "warning" | "bad" | "plain";

export function Tile({ label, value, mood = "plain" }: { label: string; value: string; mood?: Mood }) {
  return (
    <div className={`tile ${mood}`}>
      <dt>{label}</dt>
      <dd>{value}</dd>
    </div>
  );
}

export function Trouble({ error }: { error: Error | null }) {
  if (error === null) return null;
  return (
    <p role="alert" className="trouble">
      {error.message} What is shown may be old; asking again.
    </p>
  );
}
