// One ticker's card: price, change over a day, sparkline and freshness.
import { type Point, baseOf, extended, merged, sparkline } from "./day";
import { element, setText } from "./element";
import { decimalsFor, decimalsOf, exact, money, pair, percent } from "./format";
import { type Latest, type State, type Ticker, causeOf, freshnessOf, stateOf } from "./freshness";
import { ROOT } from "./root";
import type { Lined } from "./sparklines";
import type { Quote } from "./stream";

const REDRAWN = 60_000; // milliseconds after which the day has moved on under the sparkline

type Price = Pick<Quote, "price" | "at" | "origin" | "ageSeconds">;

/** What a card says, and the headline of its ticker. */
export interface Words {
  state: State;
  price: string;
  exact: string;
  change: string;
  moved: "up" | "down" | "";
  freshness: string;
}

/**
 * On the screen it follows each second and each price. Off it, it costs no layout (see page.css), is
 * not drawn, and its words follow each price and each change of state: so they are true for whoever
 * searches the page, prints it, or has it read aloud.
 */
export class Card implements Lined {
  readonly row: HTMLLIElement;
  readonly link: HTMLAnchorElement;
  latest: Latest | undefined;
  /** Whether its line is to be read: only once it has been in view. */
  line: "unread" | "wanted" | "read" = "unread";
  readonly #price = element("span", { class: "price" });
  readonly #change = element("span", { class: "change" });
  readonly #sparkline = element("span", { class: "sparkline" });
  readonly #freshness = element("span", { class: "freshness" });
  readonly #star: HTMLButtonElement;
  #exactDecimals = 0; // the most that a live price had
  #base: Point | undefined; // what its change is computed from
  #known = false; // whether there is one is known
  #points: Point[] = [];
  #inView = false;
  #written = false; // whether its words are those of its newest price and cause
  #connected = false; // as its words have it
  #drawn = 0; // milliseconds

  constructor(public ticker: Ticker) {
    const name = pair(ticker.name);
    this.link = element(
      "a",
      { href: `${ROOT.pathname}${ticker.name}` },
      element("span", { class: "name" }, name),
      this.#price,
      this.#change,
      this.#sparkline,
      this.#freshness,
    );
    this.#star = element("button", {
      type: "button",
      class: "star",
      "data-star": ticker.name,
      "aria-label": `Favourite ${name}`,
      "aria-pressed": "false",
    });
    this.row = element("li", {}, this.link, this.#star);
    this.update(ticker);
  }

  get name(): string {
    return this.ticker.name;
  }

  /** Milliseconds; of no price the earliest time there is. */
  get at(): number {
    return this.latest ? Date.parse(this.latest.at) : -Infinity;
  }

  /** In percent over a day; undefined where that is not known. */
  get moved(): number | undefined {
    if (!this.latest || !this.#base) return undefined;
    return ((Number(this.latest.price) - this.#base[1]) / this.#base[1]) * 100;
  }

  /** Those of its prices. No digit of a live price is left out; averages are rounded to them. */
  get decimals(): number {
    return this.latest ? Math.max(decimalsFor(this.latest.price), this.#exactDecimals) : 2;
  }

  get inView(): boolean {
    return this.#inView;
  }

  set inView(inView: boolean) {
    this.#inView = inView;
    this.#written = false;
    if (inView) this.#draw();
  }

  set starred(starred: boolean) {
    const pressed = String(starred);
    if (this.#star.getAttribute("aria-pressed") === pressed) return;
    this.#star.setAttribute("aria-pressed", pressed);
  }

  set selected(selected: boolean) {
    if (selected) this.link.setAttribute("aria-current", "page");
    else this.link.removeAttribute("aria-current");
  }

  /** Its entry in `tickers`. A price that was streamed since is newer, and stays. */
  update(ticker: Ticker): void {
    this.ticker = ticker;
    this.#written = false;
    if (ticker.last && this.#isNews(ticker.last)) this.#take(ticker.last);
  }

  /** The first and the last point of its day. */
  ends(points: Point[]): void {
    this.#base = baseOf(points);
    this.#known = true;
    this.#written = false;
  }

  quote(quote: Quote): void {
    const isNews = this.#isNews(quote);
    if (isNews) {
      this.#take(quote);
      this.link.classList.remove("moved");
      if (this.#inView) requestAnimationFrame(() => this.link.classList.add("moved"));
    }
    if (this.line === "unread") return;
    this.#points = extended(this.#points, [Date.parse(quote.at) / 1_000, Number(quote.price)]);
    if (isNews && this.#inView) this.#draw();
  }

  show(points: Point[]): void {
    this.line = "read";
    this.#points = merged(points, this.#points);
    if (this.#inView) this.#draw();
  }

  failed(): void {
    setText(this.#sparkline, "no line yet");
  }

  /** After a stream that may lack quotes or hold others: everything seen before is discarded. */
  restart(): void {
    this.latest = undefined;
    this.#points = [];
    this.line = "unread";
  }

  words(connected: boolean): Words {
    const { latest, moved } = this;
    const state = stateOf(this.ticker, latest);
    const why = state === "live" ? "" : `. ${causeOf(this.ticker, latest, connected)}`;
    const without = latest && this.#known ? "no price a day ago" : "";
    return {
      state,
      price: latest ? money(latest.price, this.decimals) : "",
      exact: latest ? exact(latest.price) : "",
      change: moved === undefined ? without : `${percent(moved)} in 24 h`,
      moved: moved ? (moved > 0 ? "up" : "down") : "",
      freshness: freshnessOf(this.ticker, latest) + why,
    };
  }

  /** What changes with time: ages and the day. */
  tick(connected: boolean): void {
    const stands = this.row.dataset["state"] === stateOf(this.ticker, this.latest);
    if (!this.#inView && this.#written && stands && connected === this.#connected) return;
    this.#written = true;
    this.#connected = connected;
    const words = this.words(connected);
    this.row.dataset["state"] = words.state;
    setText(this.#price, words.price, words.exact);
    setText(this.#change, words.change);
    this.#change.dataset["moved"] = words.moved;
    setText(this.#freshness, words.freshness);
    if (this.#inView && Date.now() - this.#drawn > REDRAWN) this.#draw();
  }

  #isNews({ at }: Price): boolean {
    return Date.parse(at) > this.at;
  }

  #take({ price, at, origin, ageSeconds }: Price): void {
    this.latest = { price, at, ageSeconds, received: Date.now() };
    if (origin === "LIVE") this.#exactDecimals = Math.max(this.#exactDecimals, decimalsOf(price));
    this.#written = false;
  }

  #draw(): void {
    if (this.line !== "read") return;
    this.#drawn = Date.now();
    this.#sparkline.replaceChildren(sparkline(this.#points));
  }
}
