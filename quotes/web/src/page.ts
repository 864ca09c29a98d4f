// The live page of / and /{ticker}.
import { chosenView, showChoices } from "./choices";
import { listenToControls, showControls } from "./controls";
import { byId, setText } from "./element";
import { pair, tickerOf } from "./format";
import { warningOf } from "./freshness";
import { List } from "./list";
import { type Listing, addressOf, listingOf } from "./listing";
import { Opened } from "./opened";
import { Refused, explorer, query } from "./query";
import { Refresh } from "./refresh";
import { Prices, Tickers } from "../generated/operations";
import { ROOT } from "./root";
import { type Connection, Stream } from "./stream";
import { fromAddress, toAddress } from "./view";

// Milliseconds, and up to half as many more, between two reads of what the stream does not carry: which
// tickers there are, why prices are late, and the prices of a day ago.
const READ_AGAIN = 60_000;
const WRITTEN = 300; // milliseconds after the last key until the address has the search

const stream = new Stream();
let opened: Opened | undefined;
let connection: Connection = "connecting";
let due = 0; // milliseconds: the earliest time at which the tickers are read again
let writing: ReturnType<typeof setTimeout> | undefined;

const list = new List(listingOf(location.search).listing, tick);

const tickers = new Refresh(
  async () => {
    due = Date.now() + READ_AGAIN * (1 + Math.random() / 2);
    const known = await query(Tickers, {});
    list.show(known);
    setText(byId("source"), warningOf(known.tickers));
    setText(byId("list-message"), list.cards.size > 0 ? "" : "There are no tickers yet.");
    if (opened) list.select(opened.view.ticker);
    showControls(list);
  },
  (error) => {
    if (list.cards.size > 0) return;
    const why = error instanceof Refused ? error.message : "The service cannot be reached.";
    setText(byId("list-message"), `${why} Trying again…`);
  },
);

/** Updates the ages, and their texts. */
function tick(): void {
  list.tick(connection === "live");
  tickHeadline();
}

function tickHeadline(): void {
  const card = opened && list.cards.get(opened.view.ticker);
  if (!card) return;
  const words = card.words(connection === "live");
  byId("headline").dataset["state"] = words.state;
  setText(byId("price"), words.price || "–", words.exact);
  setText(byId("age"), words.freshness);
  setText(byId("change"), words.change);
  byId("change").dataset["moved"] = words.moved;
  document.title = `${words.price || "–"} ${pair(card.name)} · quotes`;
}

/** Shows what the address names. */
function look(): void {
  opened?.close();
  opened = undefined;
  const ticker = tickerOf(decodeURIComponent(location.pathname.slice(ROOT.pathname.length)));
  list.select(ticker);
  document.body.dataset["page"] = ticker === "" ? "list" : "opened";
  const named = listingOf(location.search);
  setText(byId("list-notice"), named.notices.join(" "));
  arrange(named.listing);
  if (ticker === "") {
    document.title = "quotes";
    writeAddress();
    return;
  }
  const { view, notices } = fromAddress(ticker, location.search);
  setText(byId("name"), pair(ticker));
  setText(byId("notice"), notices.join(" "));
  for (const id of ["price", "change", "age"]) setText(byId(id), "");
  document.title = `${pair(ticker)} · quotes`;
  showChoices(view);
  opened = new Opened(view, stream, () => list.cards.get(ticker)?.decimals ?? 0);
  writeAddress();
  tick();
}

function arrange(listing: Listing): void {
  list.arrange(listing);
  showControls(list);
}

/** The address of what is shown. */
function writeAddress(): void {
  clearTimeout(writing);
  const { listing } = list;
  const address = opened ? toAddress(opened.view, listing) : addressOf(ROOT.pathname, listing);
  if (address !== location.pathname + location.search) history.replaceState(null, "", address);
}

listenToControls(list, (listing) => {
  arrange(listing);
  setText(byId("list-notice"), "");
  clearTimeout(writing);
  writing = setTimeout(writeAddress, WRITTEN);
});

byId("choices").addEventListener("change", ({ target }) => {
  if (!opened || !(target instanceof HTMLInputElement)) return;
  const { name, value } = target;
  history.replaceState(null, "", toAddress(chosenView(opened.view, target), list.listing));
  look();
  document.querySelector<HTMLInputElement>(`input[name="${name}"][value="${value}"]`)?.focus();
});

document.addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  const plain = !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
  if (!link || !plain || link.origin !== location.origin || link.dataset["leaves"] === "") return;
  event.preventDefault();
  writeAddress();
  history.pushState(null, "", addressOf(link.pathname, list.listing));
  look();
  if (document.body.dataset["page"] === "opened") byId("name").focus();
});

addEventListener("popstate", look);

const WORDS: Record<Connection, string> = {
  connecting: "Connecting…",
  live: "Live",
  lost: "Connection lost. Trying again…",
};

stream.subscribe({
  restarted() {
    tickers.soon();
    list.restart();
    opened?.restart();
  },
  quote(quote) {
    if (!list.quote(quote) && list.cards.size > 0) tickers.soon(); // a ticker that is new here
    list.cards.get(quote.ticker)?.tick(connection === "live");
    if (opened?.view.ticker !== quote.ticker) return;
    opened.quote(quote);
    tickHeadline();
  },
  connection(state) {
    connection = state;
    document.body.dataset["connection"] = state;
    setText(byId("connection"), WORDS[state]);
    tick();
  },
});

/** Periodically, for as long as somebody looks. */
function readAgain(): void {
  if (connection !== "live" || document.hidden || Date.now() < due) return;
  tickers.now();
}

setInterval(() => {
  tick();
  readAgain();
}, 1_000);

byId("list-query").setAttribute("href", explorer(Tickers, {}));
byId("stream-query").setAttribute("href", explorer(Prices, {}));
tickers.now();
look();
