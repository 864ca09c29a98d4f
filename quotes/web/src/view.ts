// What of a ticker is looked at: interval, range and time zone, as the address holds them.
import { type Listing, addressOf } from "./listing";
import { ROOT } from "./root";
import { UTC, chosenZone, zoneOf } from "./zones";

export interface View {
  ticker: string;
  interval: string;
  range: string;
  zone: string;
}

const MOST = 5_000; // candles of one answer
const FEWEST = 2; // lengths of a candle in a range: so it holds the beginning of one at least
const HOUR = 3_600;
const DAY = 24 * HOUR;

interface Length {
  seconds: number; // of the longest there is: months differ, and days by an hour
  usual: string; // the range that is shown unless another is chosen
  offered: boolean; // the address may name any of them
}

const lengthOf = (seconds: number, usual: string, offered = false): Length => ({
  seconds,
  usual,
  offered,
});

/** The candles' lengths that the service has. */
const INTERVALS: Record<string, Length> = {
  "1m": lengthOf(60, "6h", true),
  "5m": lengthOf(5 * 60, "1d", true),
  "15m": lengthOf(15 * 60, "1w", true),
  "30m": lengthOf(30 * 60, "1w"),
  "1h": lengthOf(HOUR, "1w", true),
  "2h": lengthOf(2 * HOUR, "1mo"),
  "4h": lengthOf(4 * HOUR, "1mo", true),
  "6h": lengthOf(6 * HOUR, "3mo"),
  "12h": lengthOf(12 * HOUR, "3mo"),
  "1d": lengthOf(DAY, "1y", true),
  "1w": lengthOf(7 * DAY, "3y", true),
  "1mo": lengthOf(31 * DAY, "3y"),
};
const USUAL_INTERVAL = "5m";

export const RANGES: Record<string, { seconds: number; words: string }> = {
  "6h": { seconds: 6 * HOUR, words: "6 hours" },
  "1d": { seconds: DAY, words: "1 day" },
  "1w": { seconds: 7 * DAY, words: "1 week" },
  "1mo": { seconds: 31 * DAY, words: "1 month" },
  "3mo": { seconds: 92 * DAY, words: "3 months" },
  "1y": { seconds: 366 * DAY, words: "1 year" },
  "3y": { seconds: 1_096 * DAY, words: "3 years" },
};

/** The intervals to choose from: those that are offered, and the one in the address. */
export function intervalsWith(chosen: string): string[] {
  return Object.entries(INTERVALS)
    .filter(([name, { offered }]) => offered || name === chosen)
    .map(([name]) => name);
}

/** Why that range cannot be shown in such candles, as a sentence; empty where it can. */
export function misfit(interval: string, range: string): string {
  const length = INTERVALS[interval]?.seconds ?? DAY;
  const { seconds = 0, words = range } = RANGES[range] ?? {};
  if (seconds < FEWEST * length)
    return `A range of ${words} is too short for candles of ${interval}.`;
  if (seconds / length <= MOST) return "";
  return `A range of ${words} holds more than ${MOST.toLocaleString("en")} candles of ${interval}.`;
}

/** The view in candles of that interval, over its usual range. */
export function withInterval(view: View, interval: string): View {
  return { ...view, interval, range: usualRange(interval) };
}

function usualRange(interval: string): string {
  return INTERVALS[interval]?.usual ?? "1d";
}

/** What the address names, and a sentence for each part of it that cannot be shown. */
export function fromAddress(ticker: string, search: string): { view: View; notices: string[] } {
  const parameters = new URLSearchParams(search);
  const notices: string[] = [];

  /** The first value of that name, as `known` writes it; else the usual one, with a notice. */
  function chosen(
    name: string,
    known: (text: string) => string | undefined,
    usual: string,
  ): string {
    const [text = "", ...more] = parameters.getAll(name).map((each) => each.trim());
    if (more.some((each) => each !== text)) {
      notices.push(`The address names more than one ${name}; the first one counts.`);
    }
    if (text === "") return usual;
    const value = known(text);
    if (value === undefined) notices.push(unknown(name, text, usual));
    return value ?? usual;
  }

  const interval = chosen("interval", knownInterval, USUAL_INTERVAL);
  const usual = usualRange(interval);
  let range = chosen("range", (text) => knownIn(RANGES, text), usual);
  const why = misfit(interval, range);
  if (why) {
    notices.push(`${why} This is ${RANGES[usual]?.words}.`);
    range = usual;
  }
  const zone = chosen("zone", zoneOf, chosenZone());
  return { view: { ticker, interval, range, zone }, notices };
}

function knownIn(names: object, text: string): string | undefined {
  const name = text.toLowerCase();
  return Object.hasOwn(names, name) ? name : undefined;
}

/** Any case will do, but for `1M`, which is a minute to some and a month to others. */
function knownInterval(text: string): string | undefined {
  return text === "1M" ? undefined : knownIn(INTERVALS, text);
}

function unknown(name: string, text: string, shown: string): string {
  const quoted = text.length > 20 ? `${text.slice(0, 20)}…` : text;
  if (name === "zone") {
    return `There is no time zone “${quoted}”; times are in ${shown}. One is written as Europe/Berlin.`;
  }
  if (name === "interval") {
    const names = Object.keys(INTERVALS).join(", ");
    return `There are no candles of “${quoted}”, these are of ${shown}. There are ${names}.`;
  }
  const names = Object.keys(RANGES).join(", ");
  return `There is no range “${quoted}”, this is ${RANGES[shown]?.words}. There are ${names}.`;
}

/** Without a zone it leaves that to each viewer's own choice, which is UTC until one is made. */
export function toAddress({ ticker, interval, range, zone }: View, listing: Listing): string {
  const parameters = new URLSearchParams({ interval, range });
  if (zone !== UTC || chosenZone() !== UTC) parameters.set("zone", zone);
  return addressOf(`${ROOT.pathname}${ticker}`, listing, parameters);
}

/** The first moment of the range, a whole minute. */
export function beginning({ range }: View): string {
  const seconds = Date.now() / 1000 - (RANGES[range]?.seconds ?? DAY);
  return new Date(Math.ceil(seconds / 60) * 60_000).toISOString();
}
