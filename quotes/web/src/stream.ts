// What the page follows, over one socket: the prices of all tickers, and the opened one's candles.
import type { Client } from "graphql-ws";
import type { Selection, Update } from "./candles";
import { connect } from "./client";
import {
  CandleUpdates,
  type CandleUpdatesAnswer,
  Prices,
  type PricesAnswer,
} from "../generated/operations";

export type Quote = PricesAnswer["priceUpdates"];
export type Connection = "connecting" | "live" | "lost";

export interface Follower {
  /** After one that ended the stream began anew, not after a cursor: all may be different. */
  restarted(): void;
  quote(quote: Quote): void;
  connection(state: Connection): void;
}

const RESTART = 3_000; // milliseconds, and up to as many more, until a refused stream begins anew

export class Stream {
  readonly #client: Client = connect(`${location.origin.replace(/^http/, "ws")}/graphql`);

  /** For as long as the page is open. A lost connection goes on after its last quote. */
  follow(follower: Follower): void {
    this.#client.on("connected", () => follower.connection("live"));
    this.#client.on("closed", () => follower.connection("lost"));
    let again = false;
    const begin = (): void => {
      let begun = false;
      const ended = (): void => {
        again = true;
        follower.connection("lost");
        setTimeout(begin, restartDelay());
      };
      this.#client.subscribe<PricesAnswer>(
        { query: Prices },
        {
          next({ data }) {
            if (!data) return;
            if (!begun) {
              follower.connection("live");
              if (again) follower.restarted();
            }
            begun = true;
            follower.quote(data.priceUpdates);
          },
          error: ended, // as for a cursor of a database that was put back to an earlier state
          complete: ended,
        },
      );
    };
    begin();
  }

  /** The candle under way, until the function returned is called. */
  candles(selection: Selection, next: (update: Update) => void): () => void {
    let unsubscribe = (): void => {};
    let timer: ReturnType<typeof setTimeout> | undefined;
    const begin = (): void => {
      const ended = (): void => {
        timer = setTimeout(begin, restartDelay());
      };
      unsubscribe = this.#client.subscribe<CandleUpdatesAnswer>(
        { query: CandleUpdates, variables: { ...selection } },
        {
          next({ data }) {
            if (data) next(data.candleUpdates);
          },
          error: ended, // the query of the same candles says why
          complete: ended,
        },
      );
    };
    begin();
    return () => {
      unsubscribe();
      clearTimeout(timer);
    };
  }
}

function restartDelay(): number {
  return RESTART * (1 + Math.random());
}
