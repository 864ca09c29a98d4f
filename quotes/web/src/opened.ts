// One ticker opened: its price, its candles as a chart and as a table.
import {
  type Candle,
  type Changed,
  type Selection,
  type Update,
  read,
  reread,
  updated,
} from "./candles";
import { Chart } from "./chart";
import { byId, setText } from "./element";
import { decimalsFor, exact, pair } from "./format";
import { Refused, explorer } from "./query";
import { Refresh } from "./refresh";
import { Candles } from "../generated/operations";
import type { Quote, Stream } from "./stream";
import { type Writing, fillTable, sentenceOf, writing } from "./table";
import { type View, beginning } from "./view";

/** From its making until `close`, the candles of `view` follow the stream. */
export class Opened {
  readonly #selection: Selection;
  readonly #from: string;
  #candles: Candle[] = [];
  #earliest: string | undefined; // minute from which the candles are to be read again
  #all = true; // whether all of them are
  #pointed = -1;
  readonly #chart: Chart;
  readonly #refresh: Refresh;
  readonly #ended = new AbortController();

  /** `exactDecimals`: as many as the ticker's live prices are known to have. */
  constructor(
    readonly view: View,
    stream: Stream,
    readonly exactDecimals: () => number,
  ) {
    const { ticker, interval, zone } = view;
    this.#selection = { ticker, interval, timeZone: zone };
    this.#from = beginning(view);
    byId("query").setAttribute("href", explorer(Candles, { ...this.#selection, from: this.#from }));
    this.#chart = new Chart(zone, (candle) => this.#describe(candle));
    this.#refresh = new Refresh(
      () => this.#read(),
      (error) => this.#failed(error),
    );
    const { signal } = this.#ended;
    const unsubscribe = stream.candles(this.#selection, (update) => this.#update(update));
    signal.addEventListener("abort", unsubscribe);
    byId("chart").addEventListener("keydown", (event) => this.#key(event), { signal });
    byId("table").addEventListener("toggle", () => this.#fillTable(), { signal });
    this.#state("loading", "Loading candles…");
    this.#refresh.now();
  }

  /** What a candle's own stream does not carry: repaired minutes, and quotes that come late. */
  quote({ at, origin }: Quote): void {
    const last = this.#candles.at(-1);
    if (origin !== "LIVE" || (last && Date.parse(at) < Date.parse(last.openTime))) this.#lacks(at);
  }

  /** Reads everything again, as the service may have other data by now. */
  restart(): void {
    this.#all = true;
    this.#refresh.soon();
  }

  close(): void {
    this.#ended.abort();
    this.#refresh.stop();
    this.#chart.close();
  }

  #lacks(minute: string): void {
    const at = Date.parse(minute);
    if (this.#earliest === undefined || at < Date.parse(this.#earliest)) this.#earliest = minute;
    this.#refresh.soon();
  }

  #update(update: Update): void {
    if (this.#candles.length === 0) {
      // A first price: unless the candles are just being read, they are read again with it.
      if (byId("opened").dataset["state"] === "empty") this.#refresh.now();
      return;
    }
    const { unknown, ...changed } = updated(this.#candles, update);
    if (changed.from < changed.candles.length) this.#goOn(changed);
    if (unknown !== undefined) this.#lacks(unknown);
  }

  async #read(): Promise<void> {
    const [all, minute] = [this.#all || this.#candles.length === 0, this.#earliest];
    this.#all = false;
    this.#earliest = undefined;
    try {
      if (all) this.#begin(await read(this.#selection, this.#from));
      else if (minute) this.#goOn(await reread(this.#selection, this.#candles, minute));
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
    this.#chart.begin(candles, this.#axisDecimals, !again);
    this.#changed();
  }

  #goOn({ candles, from }: Changed): void {
    if (this.#ended.signal.aborted) return;
    this.#candles = candles;
    this.#chart.goOn(candles, from);
    this.#state("shown", "");
    this.#changed();
  }

  get #axisDecimals(): number {
    return decimalsFor(this.#newest?.close ?? "1");
  }

  get #newest(): Candle | undefined {
    return this.#candles.findLast(({ count }) => count > 0);
  }

  get #writing(): Writing {
    return writing(this.view.zone, Math.max(this.#axisDecimals, this.exactDecimals()));
  }

  #changed(): void {
    const { interval, ticker } = this.view;
    const gaps = this.#candles.filter(({ count }) => count === 0).length;
    const words = `${this.#candles.length} candles of ${interval}, ${gaps} of them without a price`;
    byId("chart").setAttribute(
      "aria-label",
      `Chart of ${pair(ticker)}: ${words}. Arrow keys read it.`,
    );
    this.#describe(this.#candles[this.#pointed]);
    this.#fillTable();
  }

  #fillTable(): void {
    if (!(byId("table") as HTMLDetailsElement).open) return;
    fillTable(byId("rows"), this.#candles, this.#writing);
  }

  #describe(candle: Candle | undefined): void {
    const shown = candle ?? this.#newest;
    const digits = { price: exact, time: this.#writing.time };
    setText(
      byId("legend"),
      shown ? sentenceOf(shown, this.#writing) : "",
      shown ? sentenceOf(shown, digits) : "",
    );
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
    this.#describe(candle);
    setText(byId("spoken"), sentenceOf(candle, this.#writing));
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
    this.#ended.abort();
    this.#refresh.stop();
    this.#state("refused", words);
  }

  /** Candles that are on the screen stay there when a later read fails; the header shows it. */
  #state(state: "loading" | "shown" | "empty" | "failed" | "refused", words: string): void {
    if (state === "failed" && this.#candles.length > 0) return;
    byId("opened").dataset["state"] = state;
    setText(byId("message"), words);
  }
}
