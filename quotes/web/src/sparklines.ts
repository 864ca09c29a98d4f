// The cards' lines, read from the service: each once, many in one request.
import type { Point } from "./day";
import { query } from "./query";
import { Refresh } from "./refresh";
import { Sparklines as Document, type SparklinesAnswer } from "../generated/operations";

const MOST = 500; // tickers of one request, as the service has it

type Line = SparklinesAnswer["sparklines"][number];

export interface Lined {
  readonly name: string;
  show(points: Point[]): void;
  failed(): void;
}

/** Prices become floats here to be drawn, and nowhere else on a card. */
export function pointsOf({ times, prices }: Line): Point[] {
  return times.map((time, at) => [time, Number(prices[at])]);
}

/** Reads the line of each card that is wanted, once for each time that it is. */
export class Sparklines {
  readonly #wanted = new Set<Lined>();
  readonly #refresh = new Refresh(
    () => this.#read(),
    () => this.#wanted.forEach((card) => card.failed()),
  );

  now(cards: Iterable<Lined>): void {
    for (const card of cards) this.#wanted.add(card);
    if (this.#wanted.size > 0) this.#refresh.now();
  }

  /** For what all viewers want at the same moment. */
  soon(cards: Iterable<Lined>): void {
    for (const card of cards) this.#wanted.add(card);
    if (this.#wanted.size > 0) this.#refresh.soon();
  }

  /** Of a ticker that is gone, for which everything requested with it would be refused. */
  forget(card: Lined): void {
    this.#wanted.delete(card);
  }

  async #read(): Promise<void> {
    while (this.#wanted.size > 0) {
      const cards = [...this.#wanted].slice(0, MOST);
      const { sparklines } = await query(Document, { tickers: cards.map(({ name }) => name) });
      const lines = new Map(sparklines.map((line) => [line.ticker, pointsOf(line)]));
      for (const card of cards) {
        this.#wanted.delete(card);
        card.show(lines.get(card.name) ?? []);
      }
    }
  }
}
