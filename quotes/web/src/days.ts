// The cards' days, read from the service: each once, a few in one request.
import { SPAN, type Point } from "./day";
import { type Operation, query } from "./query";
import { Refresh } from "./refresh";

const AT_ONCE = 5; // days in one request: some 160 KB, quickly computed
const MARGIN = 5 * 60; // seconds more than is needed, for prices that are on their way
const POINTS = 1_600; // more than a day has minutes, so none is left out

export interface DayOf {
  readonly name: string;
  readonly newest: number; // seconds
  show(points: Point[]): void;
  failed(): void;
}

type Answer = Record<string, { times: number[]; prices: string[] }>;

/** Reads the day of each card that is wanted, once for each `want`. */
export class Days {
  readonly #wanted = new Set<DayOf>();
  readonly #refresh = new Refresh(
    () => this.#read(),
    () => this.#wanted.forEach((card) => card.failed()),
  );

  now(cards: Iterable<DayOf>): void {
    for (const card of cards) this.#wanted.add(card);
    if (this.#wanted.size > 0) this.#refresh.now();
  }

  /** For what all viewers want at the same moment. */
  soon(cards: Iterable<DayOf>): void {
    for (const card of cards) this.#wanted.add(card);
    if (this.#wanted.size > 0) this.#refresh.soon();
  }

  async #read(): Promise<void> {
    while (this.#wanted.size > 0) {
      const cards = [...this.#wanted].slice(0, AT_ONCE);
      const answer = await query(documentFor(cards.length), variablesFor(cards));
      for (const [index, card] of cards.entries()) {
        this.#wanted.delete(card);
        const { times = [], prices = [] } = answer[`day${index}`] ?? {};
        card.show(times.map((time, at) => [time, Number(prices[at])]));
      }
    }
  }
}

/** So many tickers' minutes, in one document; the same text for all viewers. */
function documentFor(count: number): Operation<Answer, Record<string, string>> {
  const numbers = [...Array(count).keys()];
  const variables = numbers.map((each) => `$ticker${each}: Ticker!, $from${each}: DateTime!`);
  const fields = numbers.map(
    (each) =>
      `day${each}: series(ticker: $ticker${each}, from: $from${each}, maxPoints: ${POINTS}) ` +
      "{ times prices }",
  );
  return `query Days(${variables.join(", ")}) { ${fields.join(" ")} }`;
}

function variablesFor(cards: DayOf[]): Record<string, string> {
  const pairs = cards.flatMap(({ name, newest }, index) => [
    [`ticker${index}`, name],
    [`from${index}`, new Date((newest - SPAN - MARGIN) * 1_000).toISOString()],
  ]);
  return Object.fromEntries(pairs);
}
