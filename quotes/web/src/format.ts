// How prices and tickers are written for people.

const DIGITS = 6; // significant digits of a price that is written without its exact ones

/** How many digits a price has after the point. */
export function decimalsOf(price: string): number {
  return price.split(".")[1]?.length ?? 0;
}

/** The decimals for prices of this size: six significant digits, two decimals at least. */
export function decimalsFor(price: string): number {
  const exponent = Math.floor(Math.log10(Math.abs(Number(price)) || 1));
  return Math.max(2, DIGITS - 1 - exponent);
}

/** `91892.5` with two decimals as `91,892.50`; half a unit is rounded up. Never through a float. */
export function money(price: string, decimals: number): string {
  const [whole = "", fraction = ""] = price.replace("-", "").split(".");
  const digits = fraction.padEnd(decimals + 1, "0");
  const up = (digits[decimals] ?? "0") >= "5" ? 1n : 0n;
  const units = String(BigInt(whole + digits.slice(0, decimals)) + up).padStart(decimals + 1, "0");
  const point = units.length - decimals;
  const rounded = grouped(units.slice(0, point)) + (decimals > 0 ? `.${units.slice(point)}` : "");
  return price.startsWith("-") ? `−${rounded}` : rounded;
}

/** All digits of a price, as the service sent them. */
export function exact(price: string): string {
  return money(price, decimalsOf(price));
}

function grouped(whole: string): string {
  return whole.replace(/\B(?=(\d{3})+$)/g, ",");
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

/** `-0.1234` as `−0.12 %`, with a sign in any case. */
export function percent(value: number): string {
  const text = value.toFixed(2);
  return `${Number(text) < 0 ? "−" : "+"}${text.replace("-", "")} %`;
}
