// Use of a limit: used, leased to gateways, left, and where it will end.

import type { Quota } from "../api";
import { amount, moment, percent } from "../format";

export function QuotaBar({ quota }: { quota: Quota }) {
  const used = Math.min(1, quota.max === 0 ? 1 : quota.used / quota.max);
  const leased = Math.min(1 - used, quota.max === 0 ? 0 : quota.leased / quota.max);
  const mood = used >= 1 ? "bad" : used >= 0.8 ? "warning" : "good";
  return (
    <div className="quota">
      <div className="quota-head">
        <span>{quota.limit}</span>
        <span>
          {amount(quota.used, quota.unit)} of {amount(quota.max, quota.unit)} {quota.unit === "bytes" ? "" : quota.unit}
        </span>
      </div>
      <div
        className="bar"
        role="meter"
        aria-label={`${quota.limit} of ${quota.consumer || quota.subject}`}
        aria-valuemin={0}
        aria-valuemax={quota.max}
        aria-valuenow={quota.used}
        aria-valuetext={`${percent(used)} used`}
      >
        <div className={`fill ${mood}`} style={{ width: `${used * 100}%` }} />
        <div className="fill leased" style={{ width: `${leased * 100}%` }} />
      </div>
      <p className="muted">
        {percent(used)} used in this {quota.window} ({quota.zone}), until {moment(quota.window_end)}
        {forecast(quota)}
      </p>
    </div>
  );
}

function forecast(quota: Quota): string {
  if (quota.remaining + quota.leased <= 0) return " · used up";
  if (quota.forecast?.exhausted_at) return ` · at this rate used up ${moment(quota.forecast.exhausted_at)}`;
  if (quota.forecast?.at_end) return ` · at this rate ${amount(quota.forecast.at_end, quota.unit)} at the end`;
  return "";
}
