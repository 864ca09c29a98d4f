// What of a ticker is looked at: its interval and range, as the address holds them.

export interface View {
  ticker: string;
  interval: string;
  range: string;
}

const MOST = 5_000; // candles of one answer

/** The intervals that are offered; the address may name any other that the service knows. */
export const INTERVALS = ["1m", "5m", "15m", "1h", "4h", "1d", "1w"];

const HOUR = 3_600;
const DAY = 24 * HOUR;
export const RANGES: Record<string, { seconds: number; words: string }> = {
  "6h": { seconds: 6 * HOUR, words: "6 hours" },
  "1d": { seconds: DAY, words: "1 day" },
  "1w": { seconds: 7 * DAY, words: "1 week" },
  "1mo": { seconds: 30 * DAY, words: "1 month" },
  "3mo": { seconds: 91 * DAY, words: "3 months" },
  "1y": { seconds: 366 * DAY, words: "1 year" },
  "3y": { seconds: 1_096 * DAY, words: "3 years" },
};
const USUAL_RANGE: Record<string, string> = {
  "1m": "6h",
  "5m": "1d",
  "15m": "1w",
  "1h": "1w",
  "4h": "1mo",
  "1d": "1y",
  "1w": "3y",
};
const UNITS: Record<string, number> = { m: 60, h: HOUR, d: DAY, w: 7 * DAY, mo: 30 * DAY };

/** Whether so many candles can be asked for at once. */
export function fits(interval: string, range: string): boolean {
  const [, count = "1", unit = "mo"] = /^(\d+)(\D+)$/.exec(interval) ?? [];
  const length = Number(count) * (UNITS[unit] ?? DAY);
  return (RANGES[range]?.seconds ?? 0) / length <= MOST;
}

/** The range itself where it fits, else the usual one of that interval. */
export function rangeFor(interval: string, range: string | null): string {
  if (range !== null && range in RANGES && fits(interval, range)) return range;
  return USUAL_RANGE[interval] ?? "1mo";
}

export function fromAddress(ticker: string, search: string): View {
  const asked = new URLSearchParams(search);
  const interval = asked.get("interval") ?? "5m";
  return { ticker, interval, range: rangeFor(interval, asked.get("range")) };
}

export function toAddress({ ticker, interval, range }: View): string {
  return `/${ticker}?${new URLSearchParams({ interval, range })}`;
}

/** The first moment of the range, a whole minute. */
export function beginning({ range }: View): string {
  const seconds = Date.now() / 1000 - (RANGES[range]?.seconds ?? DAY);
  return new Date(Math.ceil(seconds / 60) * 60_000).toISOString();
}
