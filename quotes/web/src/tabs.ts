// A tab of the explorer for each use, with a ticker, a day and a cursor that are there now.
import type { Operation } from "./query";
import * as examples from "../generated/examples";

export interface Tab {
  query: string;
  variables: string;
}

/** `begin` is null where the service does not answer. */
export function tabs(begin: examples.BeginAnswer | null): Tab[] {
  const newest = begin?.latestPrices.at(0);
  const ticker = newest?.ticker ?? "btc_usd";
  const date = new Date().toISOString().slice(0, 10);
  return [
    tab(examples.Latest, {}),
    tab(examples.Day, { ticker, date }),
    tab(examples.Candles, { ticker, interval: "1h" }),
    tab(examples.Gaps, { ticker }),
    tab(examples.Live, {}),
    tab(examples.Resume, { after: newest?.cursor ?? "" }),
  ];
}

function tab<Variables extends object>(
  query: Operation<unknown, Variables>,
  variables: Variables,
): Tab {
  const empty = Object.keys(variables).length === 0;
  return { query, variables: empty ? "" : JSON.stringify(variables, null, 2) };
}
