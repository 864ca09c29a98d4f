// How old a price is by now, and why there is no newer one.
import type { TickersAnswer } from "../generated/operations";
import { reasonOf } from "./causes";

export type Ticker = TickersAnswer["tickers"][number];
export type State = "live" | "late" | "stale" | "none";

const LATE = 75; // seconds: a minute's quote is a quarter of a minute overdue
const STALE = 120; // seconds, as for the schema's `stale`

/** A ticker's newest price; its age grows by this machine's clock, whatever that clock shows. */
export interface Latest {
  price: string;
  at: string;
  ageSeconds: number; // when it was received
  received: number; // milliseconds of this machine's clock
}

export function age(latest: Latest): number {
  return latest.ageSeconds + Math.max(0, Date.now() - latest.received) / 1000;
}

export function stateOf(ticker: Ticker, latest: Latest | undefined): State {
  if (!latest) return "none";
  const seconds = age(latest);
  const halted = ticker.staleReason !== null && failedSince(ticker, latest); // at any age
  return halted || seconds > STALE ? "stale" : seconds > LATE ? "late" : "live";
}

export function freshnessOf(ticker: Ticker, latest: Latest | undefined): string {
  return latest ? `${stateOf(ticker, latest)}, ${duration(age(latest))} old` : "no price yet";
}

/** A warning where prices are not the real exchange's. */
export function warningOf(tickers: Ticker[]): string {
  const sources = new Set(tickers.map((ticker) => ticker.source));
  if (sources.has("demo")) return "Demo: made-up prices";
  return sources.has("deribit-testnet") ? "Prices of the test exchange" : "";
}

/** Why there is no newer price, as a sentence. */
export function causeOf(ticker: Ticker, latest: Latest | undefined, connected: boolean): string {
  if (!connected) return "This page has no connection to the service.";
  if (!ticker.collected) return "It is no longer collected here.";
  if (ticker.lastFailure && failedSince(ticker, latest)) {
    const reason = reasonOf(ticker.lastFailure.cause);
    return `${reason.charAt(0).toUpperCase()}${reason.slice(1)}.`;
  }
  return ticker.staleReason ?? "It has not been requested since.";
}

/** Whether its last failure explains why there is no newer price. */
function failedSince({ lastFailure }: Ticker, latest: Latest | undefined): boolean {
  if (!lastFailure) return false;
  return !latest || Date.parse(lastFailure.minute) > Date.parse(latest.at);
}

function duration(seconds: number): string {
  if (seconds < 100) return `${Math.floor(seconds)} s`;
  if (seconds < 100 * 60) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} days`;
}
