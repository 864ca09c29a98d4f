// The list of all tickers: which cards are shown, in which order, and which of them are in view.
import { Card } from "./card";
import { byId } from "./element";
import type { Ticker } from "./freshness";
import { type Listing, matches } from "./listing";
import { Sparklines, pointsOf } from "./sparklines";
import type { Quote } from "./stream";
import type { TickersAnswer } from "../generated/operations";

const SETTLED = 500; // milliseconds after a minute's last price until the cards are sorted anew

/** By which cards are sorted, the smallest first. */
const KEYS: Record<string, (card: Card) => number> = {
  rise: ({ moved }) => (moved === undefined ? Infinity : -moved),
  fall: ({ moved }) => moved ?? Infinity,
  fresh: ({ at }) => -at,
  stale: ({ at }) => at,
};

/** The cards by their tickers' names, in the page's list. */
export class List {
  readonly cards = new Map<string, Card>();
  shown: Card[] = [];
  #sorting: ReturnType<typeof setTimeout> | undefined;
  readonly #sparklines = new Sparklines();
  readonly #cardOf = new WeakMap<Element, Card>();
  readonly #early = new Map<string, Quote>(); // the newest of tickers that have no card yet
  readonly #inView = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const card = this.#cardOf.get(target);
      if (card) card.inView = isIntersecting;
    }
    this.ticked();
    this.#sparklines.now(this.#unread());
  });

  /** `ticked` is called when cards have come into view, and when they have something new to show. */
  constructor(
    public listing: Listing,
    readonly ticked: () => void,
  ) {}

  /** The tickers there are, with the ends of their days. Others are gone. */
  show({ tickers, sparklines }: TickersAnswer): void {
    const names = new Set(tickers.map(({ name }) => name));
    for (const card of this.cards.values()) if (!names.has(card.name)) this.#remove(card);
    for (const ticker of tickers) this.#cardFor(ticker).update(ticker);
    for (const line of sparklines) this.cards.get(line.ticker)?.ends(pointsOf(line));
    this.#early.clear();
    this.arrange(this.listing);
  }

  /** Shows what the listing names, in its order. The card that has the focus keeps it. */
  arrange(listing: Listing): void {
    this.listing = listing;
    const starred = new Set(listing.starred);
    const key = KEYS[listing.sort] ?? (() => 0);
    const keyed = [...this.cards.values()]
      .filter(({ name }) => matches(name, listing.search))
      .map((card) => ({ card, key: key(card), starred: starred.has(card.name) }));
    keyed.sort(
      (one, other) =>
        Number(other.starred) - Number(one.starred) ||
        (one.key < other.key ? -1 : one.key > other.key ? 1 : 0) ||
        (one.card.name < other.card.name ? -1 : 1),
    );
    for (const card of this.cards.values()) card.starred = starred.has(card.name);
    this.shown = keyed.map(({ card }) => card);
    place(
      byId("cards"),
      this.shown.map(({ row }) => row),
    );
    this.ticked();
  }

  /** Returns whether the ticker has a card; else the quote is shown once it has one. */
  quote(quote: Quote): boolean {
    const card = this.cards.get(quote.ticker);
    if (card) card.quote(quote);
    else this.#early.set(quote.ticker, quote);
    if (card && this.listing.sort in KEYS) this.#sortSoon();
    return card !== undefined;
  }

  tick(connected: boolean): void {
    for (const card of this.cards.values()) card.tick(connected);
  }

  /** The card of the opened ticker. */
  select(ticker: string): void {
    for (const card of this.cards.values()) card.selected = card.name === ticker;
  }

  /** The stream began anew, for everybody at once: see `Card.restart`. */
  restart(): void {
    for (const card of this.cards.values()) card.restart();
    this.#sparklines.soon(this.#unread());
  }

  #cardFor(ticker: Ticker): Card {
    const known = this.cards.get(ticker.name);
    if (known) return known;
    const card = new Card(ticker);
    this.cards.set(card.name, card);
    this.#cardOf.set(card.row, card);
    this.#inView.observe(card.row);
    const quote = this.#early.get(card.name);
    if (quote) card.quote(quote);
    return card;
  }

  #remove(card: Card): void {
    this.cards.delete(card.name);
    this.#inView.unobserve(card.row);
    this.#sparklines.forget(card);
  }

  #sortSoon(): void {
    clearTimeout(this.#sorting);
    this.#sorting = setTimeout(() => this.arrange(this.listing), SETTLED);
  }

  /** All that have no line, once one of them is in view: whoever scrolls on requests no more. */
  #unread(): Card[] {
    const unread = [...this.cards.values()].filter(({ line }) => line === "unread");
    if (!unread.some(({ inView }) => inView)) return [];
    for (const card of unread) card.line = "wanted";
    return unread;
  }
}

/**
 * Puts the rows into the list in this order. Where one of them holds the focus, the others are put
 * around it, since an element that is moved loses it; and it stays on the screen if it was there.
 */
function place(list: HTMLElement, rows: HTMLElement[]): void {
  if (rows.length === list.children.length && rows.every((row, at) => list.children[at] === row)) {
    return;
  }
  const at = rows.findIndex((row) => row.contains(document.activeElement));
  const focused = rows[at];
  if (!focused) {
    list.replaceChildren(...rows);
    return;
  }
  const kept = new Set(rows);
  for (const row of [...list.children]) if (!kept.has(row as HTMLElement)) row.remove();
  const { top, bottom } = focused.getBoundingClientRect();
  focused.before(...rows.slice(0, at));
  focused.after(...rows.slice(at + 1));
  const followed = document.activeElement?.matches(":focus-visible"); // as by the keyboard
  if (followed && bottom > 0 && top < innerHeight) focused.scrollIntoView({ block: "nearest" });
}
