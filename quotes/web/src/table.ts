// Candles in words: one as a sentence, all as a table.
import type { Candle } from "./candles";
import { reasonOf } from "./causes";
import { element } from "./element";
import { exact, money } from "./format";
import { clockWithOffset } from "./zones";

const MOST = 200; // rows; the newest

/** How the view writes a price, and a time in ISO 8601. */
export interface Writing {
  price(price: string): string;
  time(iso: string): string;
}

export const writing = (zone: string, decimals: number): Writing => ({
  price: (price) => money(price, decimals),
  time: (iso) => clockWithOffset(Date.parse(iso), zone),
});

export function sentenceOf(candle: Candle, { price, time }: Writing): string {
  const { open, high, low, close } = candle;
  const note = noteOf(candle);
  const when = time(candle.openTime);
  if (open === null || high === null || low === null || close === null) return `${when}  ${note}`;
  const prices = `O ${price(open)}  H ${price(high)}  L ${price(low)}  C ${price(close)}`;
  return `${when}  ${prices}${note && `  ${note}`}`;
}

/** What of a candle is not as it should be; nothing of most. */
export function noteOf(candle: Candle): string {
  const cause = candle.gaps.find((gap) => !gap.repaired)?.cause;
  const why = cause ? `: ${reasonOf(cause)}` : "";
  if (candle.count === 0) return candle.complete ? `no price${why}` : "no price yet";
  const notes = [];
  if (!candle.complete) notes.push("under way");
  if (candle.repaired > 0) notes.push(`${candle.repaired} min filled in afterwards`);
  if (candle.coverage < 1)
    notes.push(`${Math.floor(candle.coverage * 100)} % of its minutes${why}`);
  return notes.join(", ");
}

/** Newest first. */
export function fillTable(rows: HTMLElement, candles: Candle[], { price, time }: Writing): void {
  const newest = candles.slice(-MOST).reverse();
  rows.replaceChildren(
    ...newest.map((candle) => {
      const prices = [candle.open, candle.high, candle.low, candle.close];
      return element(
        "tr",
        {},
        element("th", { scope: "row" }, time(candle.openTime).replace(/ UTC$/, "")),
        ...prices.map((each) =>
          each === null
            ? element("td", {}, "–")
            : element("td", { title: exact(each) }, price(each)),
        ),
        element("td", {}, String(candle.count)),
        element("td", {}, noteOf(candle)),
      );
    }),
  );
}
