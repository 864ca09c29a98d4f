// The list of all tickers: price, change over a day, sparkline and freshness of each.
import { type DayOf, Days } from "./days";
import { type Point, changeOverDay, merged, sparkline } from "./day";
import { byId, element, setText } from "./element";
import { decimalsFor, decimalsOf, exact, money, pair, percent } from "./format";
import { type Latest, type Ticker, causeOf, freshnessOf, stateOf } from "./freshness";
import { ROOT } from "./root";
import type { Quote } from "./stream";

const REDRAWN = 60_000; // milliseconds after which the day has moved on under the sparkline

type Price = Pick<Quote, "price" | "at" | "origin" | "ageSeconds">;

/** One ticker's card. Its day is read once it is in view, and goes on with each new price. */
export class Card implements DayOf {
  latest: Latest | undefined;
  readonly row: HTMLLIElement;
  readonly #price = element("span", { class: "price" });
  readonly #change = element("span", { class: "change" });
  readonly #line = element("span", { class: "sparkline" });
  readonly #freshness = element("span", { class: "freshness" });
  readonly #link: HTMLAnchorElement;
  #exactDecimals = 0; // the most that a live price had
  #day: "unread" | "wanted" | "read" = "unread";
  #points: Point[] = [];
  #drawn = 0; // milliseconds

  constructor(public ticker: Ticker) {
    this.#link = element(
      "a",
      { href: `${ROOT.pathname}${ticker.name}` },
      element("span", { class: "name" }, pair(ticker.name)),
      this.#price,
      this.#change,
      this.#line,
      this.#freshness,
    );
    this.row = element("li", {}, this.#link);
    this.update(ticker);
  }

  get name(): string {
    return this.ticker.name;
  }

  get newest(): number {
    return this.latest ? Date.parse(this.latest.at) / 1_000 : Math.floor(Date.now() / 60_000) * 60;
  }

  /** Those of its prices. No digit of a live price is left out; averages are rounded to them. */
  get decimals(): number {
    return this.latest ? Math.max(decimalsFor(this.latest.price), this.#exactDecimals) : 2;
  }

  /** Whether its day is to be read now; true once only. */
  wantsDay(): boolean {
    const unread = this.#day === "unread";
    if (unread) this.#day = "wanted";
    return unread;
  }

  /** Its entry in `tickers`. A price that was streamed since is newer, and stays. */
  update(ticker: Ticker): void {
    this.ticker = ticker;
    if (ticker.last && this.#isNews(ticker.last)) this.#show(ticker.last);
  }

  quote(quote: Quote): void {
    if (this.#day !== "unread") {
      const point = [Date.parse(quote.at) / 1_000, Number(quote.price)] as const;
      this.#points = merged(this.#points, [point]);
    }
    if (this.#isNews(quote)) {
      this.#show(quote);
      this.#link.classList.remove("moved");
      requestAnimationFrame(() => this.#link.classList.add("moved"));
    }
    this.#draw();
  }

  show(points: Point[]): void {
    this.#day = "read";
    this.#points = merged(points, this.#points);
    this.#draw();
  }

  failed(): void {
    setText(this.#change, "change unknown");
  }

  /** After a stream that may lack quotes or hold others: everything seen before is discarded. */
  restart(): boolean {
    const wasRead = this.#day !== "unread";
    this.latest = undefined;
    this.#points = [];
    return wasRead;
  }

  select(selected: boolean): void {
    if (selected) this.#link.setAttribute("aria-current", "page");
    else this.#link.removeAttribute("aria-current");
  }

  /** Updates what changes with time: ages and the day. */
  tick(connected: boolean): void {
    const state = stateOf(this.latest);
    this.row.dataset["state"] = state;
    const why = state === "live" ? "" : `. ${causeOf(this.ticker, this.latest, connected)}`;
    setText(this.#freshness, freshnessOf(this.latest) + why);
    if (Date.now() - this.#drawn > REDRAWN) this.#draw();
  }

  #isNews({ at }: Price): boolean {
    return !this.latest || Date.parse(at) > Date.parse(this.latest.at);
  }

  #show({ price, at, origin, ageSeconds }: Price): void {
    this.latest = { price, at, ageSeconds, received: Date.now() };
    if (origin === "LIVE") this.#exactDecimals = Math.max(this.#exactDecimals, decimalsOf(price));
    setText(this.#price, money(price, this.decimals), exact(price));
  }

  #draw(): void {
    if (this.#day !== "read") return;
    this.#drawn = Date.now();
    const moved = changeOverDay(this.#points);
    const without = this.#points.length > 0 ? "no price a day ago" : "";
    setText(this.#change, moved === undefined ? without : `${percent(moved)} in 24 h`);
    this.#change.dataset["moved"] = ["down", "", "up"][1 + Math.sign(moved ?? 0)] ?? "";
    this.#line.replaceChildren(sparkline(this.#points));
  }
}

/** The cards by their tickers' names, in the page's list. */
export class List {
  readonly cards = new Map<string, Card>();
  readonly #days = new Days();
  readonly #cardOf = new WeakMap<Element, Card>();
  readonly #early = new Map<string, Quote>(); // the newest of tickers that have no card yet
  readonly #inView = new IntersectionObserver((entries) => {
    const cards = entries.filter((entry) => entry.isIntersecting).map(({ target }) => target);
    this.#read(cards.map((row) => this.#cardOf.get(row)));
  });

  show(tickers: Ticker[]): void {
    for (const ticker of tickers) {
      const card = this.cards.get(ticker.name);
      if (card) card.update(ticker);
      else this.#add(new Card(ticker));
    }
    if (this.cards.size === byId("cards").childElementCount) return;
    const byName = [...this.cards].sort(([one], [other]) => (one < other ? -1 : 1));
    byId("cards").replaceChildren(...byName.map(([, { row }]) => row));
  }

  /** Returns whether the ticker has a card; else the quote is shown once it has one. */
  quote(quote: Quote): boolean {
    const card = this.cards.get(quote.ticker);
    if (card) card.quote(quote);
    else this.#early.set(quote.ticker, quote);
    return card !== undefined;
  }

  /** The card of the opened ticker; its day is shown beside the chart, where no list may be. */
  select(ticker: string): void {
    for (const card of this.cards.values()) card.select(card.name === ticker);
    this.#read([this.cards.get(ticker)]);
  }

  /** The stream began anew, for everybody at once: see `Card.restart`. */
  restart(): void {
    this.#days.soon([...this.cards.values()].filter((card) => card.restart()));
  }

  #add(card: Card): void {
    this.cards.set(card.name, card);
    this.#cardOf.set(card.row, card);
    this.#inView.observe(card.row);
    const quote = this.#early.get(card.name);
    if (quote) card.quote(quote);
    this.#early.delete(card.name);
  }

  #read(cards: Array<Card | undefined>): void {
    this.#days.now(cards.filter((card) => card !== undefined).filter((card) => card.wantsDay()));
  }
}
