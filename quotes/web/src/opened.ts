// One ticker opened: its price, its candles as a chart and as a table.
import { Refused, explorer } from "./ask";
import { Bell } from "./bell";
import { type Asked, type Candle, read, renewed } from "./candles";
import { Chart } from "./chart";
import { byId, tell } from "./element";
import { Candles } from "../generated/operations";
import { fillTable, sentenceOf } from "./table";
import { type View, beginning } from "./view";
import { pair } from "./words";

/** From its making until `close`, the candles of `view` follow what is heard. */
export class Opened {
  readonly asked: Asked;
  #candles: Candle[] = [];
  #earliest: string | undefined; // minute of the quotes heard since the service was last asked
  #all = true; // whether it is asked for everything rather than from that minute on
  #pointed = -1;
  readonly #chart: Chart;
  readonly #bell: Bell;
  readonly #ended = new AbortController();

  constructor(readonly view: View) {
    this.asked = { ticker: view.ticker, interval: view.interval, from: beginning(view) };
    byId("query").setAttribute("href", explorer(Candles, this.asked));
    this.#chart = new Chart(byId("chart"), (candle) => this.#tell(candle));
    this.#bell = new Bell(
      () => this.#renew(),
      (error) => this.#failed(error),
    );
    const { signal } = this.#ended;
    byId("chart").addEventListener("keydown", (event) => this.#key(event), { signal });
    byId("table").addEventListener("toggle", () => this.#table(), { signal });
    this.#state("loading", "Loading candles…");
    this.#bell.ring();
  }

  /** Its candles are read anew from that minute on. */
  hear(minute: string): void {
    const at = Date.parse(minute);
    if (this.#earliest === undefined || at < Date.parse(this.#earliest)) this.#earliest = minute;
    this.#bell.ring();
  }

  /** All of it is read anew, as nobody knows what was missed. */
  anew(): void {
    this.#all = true;
    this.#bell.ring();
  }

  close(): void {
    this.#ended.abort();
    this.#bell.silence();
    this.#chart.close();
  }

  async #renew(): Promise<void> {
    const [all, minute] = [this.#all || this.#candles.length === 0, this.#earliest];
    this.#all = false;
    this.#earliest = undefined;
    try {
      if (all) this.#begin(await read(this.asked));
      else if (minute) this.#goOn(await renewed(this.asked, this.#candles, minute));
    } catch (error) {
      this.#all = true;
      throw error;
    }
  }

  #begin(candles: Candle[]): void {
    if (this.#ended.signal.aborted) return;
    const again = this.#candles.length > 0;
    this.#candles = candles;
    if (candles.length === 0) {
      this.#state("empty", "No prices in this range yet. A chart begins with the first one.");
    } else {
      this.#state("shown", "");
    }
    this.#chart.begin(candles, !again);
    this.#changed();
  }

  #goOn({ candles, from }: { candles: Candle[]; from: number }): void {
    if (this.#ended.signal.aborted) return;
    this.#candles = candles;
    this.#chart.goOn(candles, from);
    this.#state("shown", "");
    this.#changed();
  }

  #changed(): void {
    const { interval, ticker } = this.view;
    const gaps = this.#candles.filter(({ count }) => count === 0).length;
    const words = `${this.#candles.length} candles of ${interval}, ${gaps} of them without a price`;
    byId("chart").setAttribute(
      "aria-label",
      `Chart of ${pair(ticker)}: ${words}. Arrow keys read it.`,
    );
    this.#tell(undefined);
    this.#table();
  }

  #table(): void {
    if ((byId("table") as HTMLDetailsElement).open) fillTable(byId("rows"), this.#candles);
  }

  #tell(candle: Candle | undefined): void {
    const shown = candle ?? this.#candles.findLast(({ count }) => count > 0);
    tell(byId("legend"), shown ? sentenceOf(shown) : "");
  }

  #key(event: KeyboardEvent): void {
    const last = this.#candles.length - 1;
    const from = this.#pointed < 0 ? last + 1 : this.#pointed;
    const places: Record<string, number> = {
      ArrowLeft: from - 1,
      ArrowRight: from + 1,
      Home: 0,
      End: last,
    };
    const wanted = places[event.key];
    if (wanted === undefined) return;
    event.preventDefault();
    this.#pointed = Math.max(0, Math.min(last, wanted));
    const candle = this.#candles[this.#pointed];
    if (!candle) return;
    this.#chart.point(candle);
    this.#tell(candle);
    tell(byId("spoken"), sentenceOf(candle));
  }

  #failed(error: unknown): void {
    if (!(error instanceof Refused)) {
      this.#state("failed", "The service cannot be reached. Trying again…");
    } else if (error.code === "UNKNOWN_TICKER") {
      this.#refused(`There is no ticker ${this.view.ticker} here. Choose one from the list.`);
    } else if (error.code === "BAD_INPUT") {
      this.#refused(error.message);
    } else {
      this.#state("failed", `${error.message} Trying again…`);
    }
  }

  #refused(words: string): void {
    this.#bell.silence();
    this.#state("refused", words);
  }

  /** Where candles are on the screen already, a failure leaves them: the stream's state is told. */
  #state(state: "loading" | "shown" | "empty" | "failed" | "refused", words: string): void {
    if (state === "failed" && this.#candles.length > 0) return;
    byId("opened").dataset["state"] = state;
    tell(byId("told"), words);
  }
}
