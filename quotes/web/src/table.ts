// Candles in words: one as a sentence, all as a table.
import type { Candle } from "./candles";
import { element } from "./element";
import { moment, money } from "./words";

const MOST = 200; // rows; the newest

export function sentenceOf(candle: Candle): string {
  const { open, high, low, close } = candle;
  const note = noteOf(candle);
  const when = `${moment(candle.openTime)} UTC`;
  if (open === null || high === null || low === null || close === null) return `${when}  ${note}`;
  const prices = `O ${money(open)}  H ${money(high)}  L ${money(low)}  C ${money(close)}`;
  return `${when}  ${prices}${note && `  ${note}`}`;
}

/** What of a candle is not as it should be; nothing of most. */
export function noteOf(candle: Candle): string {
  const cause = candle.gaps.find((gap) => !gap.repaired)?.cause;
  const why = cause ? ` (${cause})` : "";
  if (candle.count === 0) return candle.complete ? `no price${why}` : "no price yet";
  const notes = [];
  if (!candle.complete) notes.push("under way");
  if (candle.coverage < 1)
    notes.push(`${Math.floor(candle.coverage * 100)} % of its minutes${why}`);
  if (candle.repaired > 0) notes.push(`${candle.repaired} min filled in afterwards`);
  return notes.join(", ");
}

/** Newest first. */
export function fillTable(rows: HTMLElement, candles: Candle[]): void {
  const newest = candles.slice(-MOST).reverse();
  rows.replaceChildren(
    ...newest.map((candle) => {
      const prices = [candle.open, candle.high, candle.low, candle.close];
      return element(
        "tr",
        {},
        element("th", { scope: "row" }, moment(candle.openTime)),
        ...prices.map((price) => element("td", {}, price === null ? "–" : money(price))),
        element("td", {}, String(candle.count)),
        element("td", {}, noteOf(candle)),
      );
    }),
  );
}
