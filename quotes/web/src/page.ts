// The live page of / and /{ticker}.
import { Refused, ask, explorer } from "./ask";
import { Bell } from "./bell";
import { byId, element, tell } from "./element";
import { stateOf, warningOf } from "./freshness";
import { List } from "./list";
import { Opened } from "./opened";
import { Prices, Tickers } from "../generated/operations";
import { type Connection, follow } from "./stream";
import { INTERVALS, RANGES, type View, fits, fromAddress, rangeFor, toAddress } from "./view";
import { money, pair, tickerOf } from "./words";

const CAUSES = 15; // seconds between two looks at why a price is late

const list = new List();
let opened: Opened | undefined;
let connection: Connection = "connecting";

const tickers = new Bell(
  async () => {
    const known = (await ask(Tickers, {})).tickers;
    list.show(known);
    tell(byId("source"), warningOf(known));
    tell(byId("list-told"), known.length > 0 ? "" : "There are no tickers yet.");
    if (opened) list.cards.get(opened.view.ticker)?.select(true);
    grow();
  },
  (error) => {
    if (list.cards.size > 0) return;
    const why = error instanceof Refused ? error.message : "The service cannot be reached.";
    tell(byId("list-told"), `${why} Trying again…`);
  },
);

/** Ages grow, and the words that tell them. */
function grow(): void {
  for (const card of list.cards.values()) card.grow(connection === "live");
  const card = opened && list.cards.get(opened.view.ticker);
  if (!card) return;
  byId("headline").dataset["state"] = stateOf(card.told);
  tell(byId("price"), card.told ? money(card.told.price) : "–");
  tell(byId("age"), card.row.querySelector(".freshness")?.textContent ?? "");
  const change = card.row.querySelector<HTMLElement>(".change");
  tell(byId("change"), change?.textContent ?? "");
  byId("change").dataset["moved"] = change?.dataset["moved"] ?? "";
  document.title = `${card.told ? money(card.told.price) : "–"} ${pair(card.ticker.name)} · quotes`;
}

function look(): void {
  opened?.close();
  opened = undefined;
  const ticker = tickerOf(decodeURIComponent(location.pathname.slice(1)));
  for (const card of list.cards.values()) card.select(card.ticker.name === ticker);
  document.body.dataset["page"] = ticker === "" ? "list" : "opened";
  if (ticker === "") {
    document.title = "quotes";
    return;
  }
  const view = fromAddress(ticker, location.search);
  history.replaceState(null, "", toAddress(view));
  tell(byId("name"), pair(ticker));
  for (const id of ["price", "change", "age"]) tell(byId(id), "");
  document.title = `${pair(ticker)} · quotes`;
  choices(view);
  opened = new Opened(view);
  grow();
}

function go(address: string): void {
  history.pushState(null, "", address);
  look();
}

function choices(view: View): void {
  const intervals = INTERVALS.includes(view.interval) ? INTERVALS : [view.interval, ...INTERVALS];
  fill("intervals", "interval", intervals, view.interval, {});
  fill("ranges", "range", Object.keys(RANGES), view.range, {
    disabled: (range) => !fits(view.interval, range),
    words: (range) => RANGES[range]?.words ?? range,
  });
}

interface Shown {
  disabled?: (value: string) => boolean;
  words?: (value: string) => string;
}

function fill(id: string, name: string, values: string[], chosen: string, shown: Shown): void {
  byId(id).replaceChildren(
    ...values.map((value) => {
      const input = element("input", { type: "radio", name, value });
      input.checked = value === chosen;
      input.disabled = shown.disabled?.(value) ?? false;
      return element("label", {}, input, element("span", {}, shown.words?.(value) ?? value));
    }),
  );
}

byId("choices").addEventListener("change", (event) => {
  if (!opened || !(event.target instanceof HTMLInputElement)) return;
  const { name, value } = event.target;
  const { view } = opened;
  const chosen =
    name === "interval"
      ? { ...view, interval: value, range: rangeFor(value, null) }
      : { ...view, range: value };
  history.replaceState(null, "", toAddress(chosen));
  look();
  document.querySelector<HTMLInputElement>(`input[name="${name}"][value="${value}"]`)?.focus();
});

document.addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  const plain = !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
  if (!link || !plain || link.origin !== location.origin || link.dataset["leaves"] === "") return;
  event.preventDefault();
  go(link.href);
  if (document.body.dataset["page"] === "opened") byId("name").focus();
});

addEventListener("popstate", look);

const WORDS: Record<Connection, string> = {
  connecting: "Connecting…",
  live: "Live",
  lost: "Connection lost. Trying again…",
};

follow({
  began() {
    tickers.ring();
    for (const card of list.cards.values()) card.refresh();
    opened?.anew();
  },
  quote(quote) {
    const card = list.cards.get(quote.ticker);
    if (card) card.quote(quote);
    else tickers.ring(); // a ticker that is new here
    if (opened?.view.ticker === quote.ticker) opened.hear(quote.at);
    grow();
  },
  connection(state) {
    connection = state;
    document.body.dataset["connection"] = state;
    tell(byId("connection"), WORDS[state]);
    grow();
  },
});

setInterval(grow, 1_000);
setInterval(() => {
  const cards = [...list.cards.values()];
  if (cards.some(({ told }) => stateOf(told) !== "live")) tickers.ring();
}, CAUSES * 1_000);

byId("list-query").setAttribute("href", explorer(Tickers, {}));
byId("stream-query").setAttribute("href", explorer(Prices, {}));
tickers.ring();
look();
