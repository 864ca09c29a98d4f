// The list of all tickers: price, change over a day, sparkline and freshness of each.
import { ask } from "./ask";
import { Bell } from "./bell";
import { byId, element, tell } from "./element";
import { type Ticker, type Told, causeOf, stateOf, wordsOf } from "./freshness";
import { Day, type DayAnswer } from "../generated/operations";
import type { Quote } from "./stream";
import { money, pair, percent } from "./words";

const DAY = 86_400; // seconds
const BREAK = DAY / 16; // a line is not drawn over a longer time without prices
const WIDTH = 120;
const HEIGHT = 32;

/** One ticker's line in the list. What it shows of the day is asked once it is in view. */
export class Card {
  told: Told | undefined;
  readonly row: HTMLLIElement;
  readonly #price = element("span", { class: "price" });
  readonly #change = element("span", { class: "change" });
  readonly #line = element("span", { class: "sparkline" });
  readonly #freshness = element("span", { class: "freshness" });
  readonly #link: HTMLAnchorElement;
  readonly #day: Bell;
  #inView = false;
  #selected = false; // its day is told beside the chart, also where the list has no room

  constructor(public ticker: Ticker) {
    this.#link = element(
      "a",
      { href: `/${ticker.name}` },
      element("span", { class: "name" }, pair(ticker.name)),
      this.#price,
      this.#change,
      this.#line,
      this.#freshness,
    );
    this.row = element("li", {}, this.#link);
    this.#day = new Bell(
      async () => this.#showDay(await ask(Day, this.dayVariables)),
      () => tell(this.#change, "change unknown"),
    );
    new IntersectionObserver(([entry]) => {
      this.#inView = entry?.isIntersecting ?? false;
      if (this.#inView) this.refresh();
    }).observe(this.row);
    this.know(ticker);
  }

  get dayVariables(): { ticker: string; from: string } {
    const minute = 60_000;
    const from = Math.ceil((Date.now() - DAY * 1000) / minute) * minute;
    return { ticker: this.ticker.name, from: new Date(from).toISOString() };
  }

  /** What `tickers` tells. A price that came by the stream since is newer, and stays. */
  know(ticker: Ticker): void {
    this.ticker = ticker;
    if (ticker.last && (!this.told || Date.parse(ticker.last.at) > Date.parse(this.told.at))) {
      this.#hear(ticker.last);
    }
  }

  quote(quote: Quote): void {
    if (!this.told || Date.parse(quote.at) > Date.parse(this.told.at)) {
      this.#hear(quote);
      this.#link.classList.remove("moved");
      requestAnimationFrame(() => this.#link.classList.add("moved"));
    }
    this.refresh();
  }

  refresh(): void {
    if (this.#inView || this.#selected) this.#day.ring();
  }

  select(selected: boolean): void {
    const fresh = selected && !this.#selected;
    this.#selected = selected;
    if (fresh) this.refresh();
    if (selected) this.#link.setAttribute("aria-current", "page");
    else this.#link.removeAttribute("aria-current");
  }

  /** The age is told anew each second. */
  grow(connected: boolean): void {
    const state = stateOf(this.told);
    this.row.dataset["state"] = state;
    const words = wordsOf(this.told);
    const why = state === "live" ? "" : ` ${causeOf(this.ticker, this.told, connected)}`;
    tell(this.#freshness, words + (why ? `.${why}` : ""));
  }

  #hear({ price, at, ageSeconds }: { price: string; at: string; ageSeconds: number }): void {
    this.told = { price, at, ageSeconds, heard: Date.now() };
    tell(this.#price, money(price));
  }

  #showDay({ change, series }: DayAnswer): void {
    const moved = change?.percent;
    const words = moved ? `${percent(moved)} in 24 h` : "no price a day ago";
    tell(this.#change, change ? words : "");
    this.#change.dataset["moved"] = ["down", "", "up"][1 + Math.sign(Number(moved ?? 0))] ?? "";
    this.#line.replaceChildren(sparkline(series));
  }
}

function sparkline({ times, prices }: DayAnswer["series"]): SVGElement {
  const values = prices.map(Number);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const from = Date.now() / 1000 - DAY;
  const path = times.map((time, index) => {
    const x = ((time - from) / DAY) * WIDTH;
    const y = HEIGHT - 1 - (((values[index] ?? low) - low) / (high - low || 1)) * (HEIGHT - 2);
    const joined = time - (times[index - 1] ?? 0) < BREAK;
    return `${joined ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
  });
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path.join(""));
  svg.append(line);
  return svg;
}

/** The cards by their tickers' names, in the page's list. */
export class List {
  readonly cards = new Map<string, Card>();

  show(tickers: Ticker[]): void {
    for (const ticker of tickers) {
      const card = this.cards.get(ticker.name);
      if (card) card.know(ticker);
      else this.cards.set(ticker.name, new Card(ticker));
    }
    if (this.cards.size === byId("cards").childElementCount) return;
    const byName = [...this.cards].sort(([one], [other]) => (one < other ? -1 : 1));
    byId("cards").replaceChildren(...byName.map(([, { row }]) => row));
  }
}
