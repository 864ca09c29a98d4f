// A ticker's candles as the service has them: asked once, then from the candle that a quote is of.
import { Candles, type CandlesAnswer } from "../generated/operations";
import { ask } from "./ask";

type Told = CandlesAnswer["candles"][number];
type Gap = CandlesAnswer["gaps"]["nodes"][number];

/** `repaired`: how many of its minutes were filled in afterwards. */
export type Candle = Told & { repaired: number; gaps: Gap[] };

export interface Asked {
  ticker: string;
  interval: string;
  from: string;
}

/** Oldest first, from the first that has a price: before it there is no gap, but nothing yet. */
export async function read(asked: Asked): Promise<Candle[]> {
  const candles = joined(await ask(Candles, asked));
  const first = candles.findIndex(({ count }) => count > 0);
  return first < 0 ? [] : candles.slice(first);
}

/**
 * The candles with all that has changed since `minute`, and the place of the first that did. The
 * service is asked again from the candle of that minute on, so nothing is computed twice.
 */
export async function renewed(
  asked: Asked,
  candles: Candle[],
  minute: string,
): Promise<{ candles: Candle[]; from: number }> {
  const moment = Date.parse(minute);
  const after = candles.findIndex(({ closeTime }) => Date.parse(closeTime) > moment);
  const from = after < 0 ? Math.max(0, candles.length - 1) : after;
  const newer = joined(
    await ask(Candles, { ...asked, from: candles[from]?.openTime ?? asked.from }),
  );
  return { candles: [...candles.slice(0, from), ...newer], from };
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
