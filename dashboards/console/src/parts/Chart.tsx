// Charts over time. Colours come from the style sheet, so that both modes have enough contrast.

import { Area, AreaChart, CartesianGrid, Line, LineChart, ResponsiveContainer, Tooltip, XAxis, YAxis } from "recharts";

import type { Point } from "../api";
import { clock, count, milliseconds } from "../format";

const AXIS = { stroke: "var(--muted)", fontSize: 12, tickLine: false } as const;
const BOX = { background: "var(--panel)", border: "1px solid var(--line)", borderRadius: 6, color: "var(--text)" };

const label = (value: unknown) => clock(String(value));

export function Traffic({ points }: { points: Point[] }) {
  const rows = points.map((point) => ({ ...point, good: Math.max(0, point.requests - point.errors - point.refused) }));
  return (
    <figure>
      <figcaption>Requests</figcaption>
      <ResponsiveContainer width="100%" height={220}>
        <AreaChart data={rows} accessibilityLayer margin={{ left: 0, right: 8 }}>
          <CartesianGrid stroke="var(--line)" vertical={false} />
          <XAxis dataKey="time" tickFormatter={label} minTickGap={48} {...AXIS} />
          <YAxis width={44} allowDecimals={false} tickFormatter={count} {...AXIS} />
          <Tooltip contentStyle={BOX} labelFormatter={label} />
          <Area name="served" dataKey="good" stackId="all" {...area("--good")} />
          <Area name="refused" dataKey="refused" stackId="all" {...area("--warning")} />
          <Area name="errors" dataKey="errors" stackId="all" {...area("--bad")} />
        </AreaChart>
      </ResponsiveContainer>
    </figure>
  );
}

const area = (colour: string) => ({
  type: "monotone" as const,
  stroke: `var(${colour})`,
  fill: `var(${colour})`,
  fillOpacity: 0.35,
  isAnimationActive: false,
});

export function Latency({ points }: { points: Point[] }) {
  return (
    <figure>
      <figcaption>Latency</figcaption>
      <ResponsiveContainer width="100%" height={220}>
        <LineChart data={points} accessibilityLayer margin={{ left: 0, right: 8 }}>
          <CartesianGrid stroke="var(--line)" vertical={false} />
          <XAxis dataKey="time" tickFormatter={label} minTickGap={48} {...AXIS} />
          <YAxis width={60} tickFormatter={(value: number) => milliseconds(value)} {...AXIS} />
          <Tooltip
            contentStyle={BOX}
            labelFormatter={label}
            formatter={(value) => milliseconds(typeof value === "number" ? value : null)}
          />
          <Line name="p50" dataKey="p50_ms" {...line("--good")} />
          <Line name="p95" dataKey="p95_ms" {...line("--accent")} />
          <Line name="p99" dataKey="p99_ms" {...line("--warning")} />
        </LineChart>
      </ResponsiveContainer>
    </figure>
  );
}

const line = (colour: string) => ({
  type: "monotone" as const,
  stroke: `var(${colour})`,
  strokeWidth: 2,
  // A second with requests between two without would be no line at all.
  dot: { r: 2 },
  connectNulls: true,
  isAnimationActive: false,
});
