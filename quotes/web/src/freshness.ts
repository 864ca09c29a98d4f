// How old a price is by now, and what to say of it.
import type { TickersAnswer } from "../generated/operations";

export type Ticker = TickersAnswer["tickers"][number];
export type State = "live" | "late" | "stale" | "none";

const LATE = 75; // seconds: a minute's quote is a quarter of a minute overdue
const STALE = 120; // seconds: as the schema's `stale` says

/** A price as it was told; the age grows by this machine's clock, whatever that clock shows. */
export interface Told {
  price: string;
  at: string;
  ageSeconds: number;
  heard: number; // milliseconds of this machine's clock
}

export function age(told: Told): number {
  return told.ageSeconds + Math.max(0, Date.now() - told.heard) / 1000;
}

export function stateOf(told: Told | undefined): State {
  if (!told) return "none";
  const seconds = age(told);
  return seconds > STALE ? "stale" : seconds > LATE ? "late" : "live";
}

export function wordsOf(told: Told | undefined): string {
  if (!told) return "no price yet";
  const state = stateOf(told);
  return state === "live" ? `live, ${ago(age(told))} old` : `${state}, ${ago(age(told))} old`;
}

/** A warning where prices are not the real exchange's. */
export function warningOf(tickers: Ticker[]): string {
  const sources = new Set(tickers.map((ticker) => ticker.source));
  if (sources.has("demo")) return "Demo: made-up prices";
  return sources.has("deribit-testnet") ? "Prices of the test exchange" : "";
}

/** Why there is no newer price. */
export function causeOf(ticker: Ticker, told: Told | undefined, connected: boolean): string {
  if (!connected) return "This page has no connection to the service.";
  const failed = ticker.lastFailure;
  if (failed && (!told || Date.parse(failed.minute) > Date.parse(told.at))) return failed.message;
  return ticker.collected
    ? "Nothing was asked since: is a worker and a scheduler running?"
    : "It is no longer collected here.";
}

export function ago(seconds: number): string {
  if (seconds < 100) return `${Math.floor(seconds)} s`;
  if (seconds < 100 * 60) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} days`;
}
