// A ticker's candles as the service computes them: read once, then updated by its stream.
import { type CandleUpdatesAnswer, Candles, type CandlesAnswer } from "../generated/operations";
import { query } from "./query";

type Gap = CandlesAnswer["gaps"]["nodes"][number];

export type Update = CandleUpdatesAnswer["candleUpdates"];

/** `repaired`: how many of its minutes were filled in afterwards. */
export type Candle = Update & { repaired: number; gaps: Gap[] };

/** Of the candles: those of a ticker in one interval, cut by one time zone's clocks. */
export interface Selection {
  ticker: string;
  interval: string;
  timeZone: string;
}

/** All candles, and the index of the first that is new or different. */
export interface Changed {
  candles: Candle[];
  from: number;
}

/** Oldest first, from the first that has a price: before it there is no gap, but nothing yet. */
export async function read(selection: Selection, from: string): Promise<Candle[]> {
  const candles = joined(await query(Candles, { ...selection, from }));
  const first = candles.findIndex(({ count }) => count > 0);
  return first < 0 ? [] : candles.slice(first);
}

/** The candles, read anew from the one that holds `minute`. There is one at least. */
export async function reread(
  selection: Selection,
  candles: Candle[],
  minute: string,
): Promise<Changed> {
  const moment = Date.parse(minute);
  const holding = candles.findIndex(({ closeTime }) => Date.parse(closeTime) > moment);
  const from = holding < 0 ? candles.length - 1 : holding;
  const begin = candles[from]?.openTime ?? minute;
  const newer = joined(await query(Candles, { ...selection, from: begin }));
  return { candles: [...candles.slice(0, from), ...newer], from };
}

/**
 * The candles with the streamed one, and the minute from which the service must be read again,
 * where it knows more than an update contains: the cause of a missing minute, or candles in between.
 */
export function updated(candles: Candle[], update: Update): Changed & { unknown?: string } {
  const last = candles.at(-1);
  if (!last || update.openTime > last.closeTime) {
    return { candles, from: candles.length, unknown: last?.openTime ?? update.openTime };
  }
  if (update.openTime === last.closeTime) {
    const changed = { candles: [...candles, { ...update, repaired: 0, gaps: [] }] };
    const unknown = last.complete ? {} : { unknown: last.openTime };
    return { ...changed, from: candles.length, ...unknown };
  }
  const from = candles.findIndex(({ openTime }) => openTime === update.openTime);
  const former = candles[from];
  if (!former) return { candles, from: candles.length, unknown: update.openTime };
  const { repaired, gaps } = former;
  const lacking = update.coverage < 1 && (update.complete || former.coverage === 1);
  return {
    candles: candles.map((each, at) => (at === from ? { ...update, repaired, gaps } : each)),
    from,
    ...(lacking ? { unknown: update.openTime } : {}),
  };
}

/** Each candle with the gaps of its minutes; both are in order. */
function joined({ candles, gaps: { nodes } }: CandlesAnswer): Candle[] {
  const left = [...nodes];
  return candles.map((candle) => {
    const [open, close] = [Date.parse(candle.openTime), Date.parse(candle.closeTime)];
    while (left[0] && Date.parse(left[0].to) <= open) left.shift();
    const after = left.findIndex(({ from }) => Date.parse(from) >= close);
    const gaps = left.slice(0, after < 0 ? left.length : after);
    const repaired = gaps.filter((gap) => gap.repaired);
    const minutes = repaired.map(
      ({ from, to }) =>
        (Math.min(close, Date.parse(to)) - Math.max(open, Date.parse(from))) / 60_000,
    );
    return { ...candle, gaps, repaired: minutes.reduce((sum, each) => sum + each, 0) };
  });
}
