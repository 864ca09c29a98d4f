// The live prices of all tickers: one subscription for the whole page.
import { connect } from "./client";
import { Prices, type PricesAnswer } from "../generated/operations";

export type Quote = PricesAnswer["priceUpdates"];
export type Connection = "connecting" | "live" | "lost";

export interface Follower {
  /** A stream begins with the newest quotes. What was asked before it may lack what came since. */
  began(): void;
  quote(quote: Quote): void;
  connection(state: Connection): void;
}

const ANEW = 3_000; // milliseconds until a stream that was refused begins anew

/** For as long as the page is open. A lost connection goes on after its last quote. */
export function follow(follower: Follower): void {
  const client = connect(`${location.origin.replace(/^http/, "ws")}/graphql`);
  client.on("connected", () => follower.connection("live"));
  client.on("closed", () => follower.connection("lost"));

  function begin(): void {
    let begun = false;
    const anew = (): void => {
      follower.connection("lost");
      setTimeout(begin, ANEW);
    };
    client.subscribe<PricesAnswer>(
      { query: Prices },
      {
        next({ data }) {
          if (!data) return;
          if (!begun) follower.began();
          begun = true;
          follower.quote(data.priceUpdates);
        },
        error: anew, // as for a cursor of a database that was put back to an earlier state
        complete: anew,
      },
    );
  }

  begin();
}
