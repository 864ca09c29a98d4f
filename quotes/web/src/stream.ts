// What the page subscribes to, over one socket: the prices of all tickers, and the opened one's candles.
import type { Client } from "graphql-ws";
import type { Selection, Update } from "./candles";
import { connect } from "./client";
import { authorization } from "./token";
import {
  CandleUpdates,
  type CandleUpdatesAnswer,
  Prices,
  type PricesAnswer,
} from "../generated/operations";
import { SOCKET } from "./root";

export type Quote = PricesAnswer["priceUpdates"];
export type Connection = "connecting" | "live" | "lost";

export interface Subscriber {
  /** The stream ended and began again, without a cursor: everything may be different. */
  restarted(): void;
  quote(quote: Quote): void;
  connection(state: Connection): void;
}

const RESTART = 3_000; // milliseconds, and up to as many more, until a refused stream is tried again

export class Stream {
  readonly #client: Client = connect(SOCKET, { connectionParams: authorization });

  /** For as long as the page is open. After a lost connection it resumes after the last quote. */
  subscribe(subscriber: Subscriber): void {
    this.#client.on("connected", () => subscriber.connection("live"));
    this.#client.on("closed", () => subscriber.connection("lost"));
    let again = false;
    const begin = (): void => {
      let begun = false;
      const ended = (): void => {
        again = true;
        subscriber.connection("lost");
        setTimeout(begin, restartDelay());
      };
      this.#client.subscribe<PricesAnswer>(
        { query: Prices },
        {
          next({ data }) {
            if (!data) return;
            if (!begun) {
              subscriber.connection("live");
              if (again) subscriber.restarted();
            }
            begun = true;
            subscriber.quote(data.priceUpdates);
          },
          error: ended, // as for a cursor of a database that was restored to an earlier state
          complete: ended,
        },
      );
    };
    begin();
  }

  /** The open candle, until the function returned is called. */
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
          error: ended, // the query for the same candles shows why
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
