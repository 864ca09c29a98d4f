// How prices, tickers and times are written for people.

/** `91892.59` as `91,892.59`: the same digits, none rounded. */
export function money(price: string): string {
  const [whole = "", ...fraction] = price.split(".");
  return [whole.replace(/\B(?=(\d{3})+$)/g, ","), ...fraction].join(".");
}

/** `btc_usd` as `BTC/USD`. */
export function pair(ticker: string): string {
  return ticker.replace("_", "/").toUpperCase();
}

/** As the service reads it: any case, and a bare currency means its USD index. */
export function tickerOf(text: string): string {
  const name = text.toLowerCase();
  return name === "" || name.includes("_") ? name : `${name}_usd`;
}

/** `2026-11-23T02:27:00Z` as `2026-11-23 02:27`. */
export function moment(iso: string): string {
  return iso.slice(0, 16).replace("T", " ");
}

/** `-0.1234` as `−0.12 %`, with a sign in any case. */
export function percent(text: string): string {
  const value = Number(text).toFixed(2);
  return `${Number(value) < 0 ? "−" : "+"}${value.replace("-", "")} %`;
}
