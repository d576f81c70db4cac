// Numbers and times for people.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const count = (value: number): string => (value < 100_000 ? whole.format(value) : short.format(value));

export const milliseconds = (value: number | null | undefined): string =>
  value === null || value === undefined ? "–" : value < 10 ? `${value.toFixed(1)} ms` : `${whole.format(value)} ms`;

export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let rest = value;
  let unit = 0;
  while (rest >= 1024 && unit < units.length - 1) {
    rest /= 1024;
    unit += 1;
  }
  return `${rest < 10 && unit > 0 ? rest.toFixed(1) : whole.format(rest)} ${units[unit]}`;
}

export const amount = (value: number, unit: string): string => (unit === "bytes" ? bytes(value) : count(value));

export const percent = (ratio: number): string => `${(ratio * 100).toFixed(ratio < 0.1 && ratio > 0 ? 1 : 0)} %`;

export const clock = (time: string): string =>
  new Date(time).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export const moment = (time: string | null | undefined): string =>
  !time ? "–" : new Date(time).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });

export function ago(time: string | null | undefined, now: number): string {
  if (!time) return "never";
  const seconds = Math.max(0, (now - new Date(time).getTime()) / 1000);
  if (seconds < 90) return `${whole.format(seconds)} s ago`;
  if (seconds < 5400) return `${whole.format(seconds / 60)} min ago`;
  if (seconds < 129_600) return `${whole.format(seconds / 3600)} h ago`;
  return `${whole.format(seconds / 86_400)} d ago`;
}
