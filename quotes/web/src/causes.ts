// The causes of a missing price in plain words, for the middle of a sentence.
import type { TickersAnswer } from "../generated/operations";

export type Cause = NonNullable<TickersAnswer["tickers"][number]["lastFailure"]>["cause"];

const REASONS: Record<Cause, string> = {
  UNREACHABLE: "the exchange could not be reached",
  TIMEOUT: "the exchange did not answer in time",
  RATE_LIMITED: "the exchange was queried too often",
  UNAVAILABLE: "the exchange could not answer",
  MAINTENANCE: "the exchange was under maintenance",
  REFUSED: "the exchange refused to answer",
  UNKNOWN_INDEX: "the exchange does not have this price",
  NO_PRICE: "the exchange had no price",
  BAD_PRICE: "the exchange's answer held no usable price",
  BAD_ANSWER: "the exchange's answer could not be understood",
  WRONG_ENVIRONMENT: "a test exchange answered for the real one, or the other way round",
  OUTSIDE_MINUTE: "the exchange's price was of another minute, by its clock",
  FROZEN: "the exchange made no new price",
  LOCKED: "the exchange had locked this price",
  NOT_ASKED: "it was not collected",
};

/** A service newer than this page may have causes that the page does not know. */
export function reasonOf(cause: Cause): string {
  return REASONS[cause] ?? "the reason is not known";
}
