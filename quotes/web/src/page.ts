// The live page of / and /{ticker}.
import { chosenView, showChoices } from "./choices";
import { byId, setText } from "./element";
import { exact, money, pair, tickerOf } from "./format";
import { stateOf, warningOf } from "./freshness";
import { List } from "./list";
import { Opened } from "./opened";
import { Refused, explorer, query } from "./query";
import { Refresh } from "./refresh";
import { Prices, Tickers } from "../generated/operations";
import { ROOT } from "./root";
import { type Connection, Stream } from "./stream";
import { fromAddress, toAddress } from "./view";

const CAUSES = 60_000; // milliseconds, and up to half as many more, between two reads of the causes

const list = new List();
const stream = new Stream();
let opened: Opened | undefined;
let connection: Connection = "connecting";
let causesDue = 0; // milliseconds: the earliest time at which the causes of late prices are read again

const tickers = new Refresh(
  async () => {
    const known = (await query(Tickers, {})).tickers;
    list.show(known);
    setText(byId("source"), warningOf(known));
    setText(byId("list-message"), known.length > 0 ? "" : "There are no tickers yet.");
    if (opened) list.select(opened.view.ticker);
    tick();
  },
  (error) => {
    if (list.cards.size > 0) return;
    const why = error instanceof Refused ? error.message : "The service cannot be reached.";
    setText(byId("list-message"), `${why} Trying again…`);
  },
);

/** Updates the ages, and their texts. */
function tick(): void {
  for (const card of list.cards.values()) card.tick(connection === "live");
  const card = opened && list.cards.get(opened.view.ticker);
  if (!card) return;
  const { latest, decimals, row } = card;
  const price = latest ? money(latest.price, decimals) : "–";
  byId("headline").dataset["state"] = stateOf(latest);
  setText(byId("price"), price, latest ? exact(latest.price) : "");
  setText(byId("age"), row.querySelector(".freshness")?.textContent ?? "");
  const change = row.querySelector<HTMLElement>(".change");
  setText(byId("change"), change?.textContent ?? "");
  byId("change").dataset["moved"] = change?.dataset["moved"] ?? "";
  document.title = `${price} ${pair(card.name)} · quotes`;
}

/** Shows what the address names. */
function look(): void {
  opened?.close();
  opened = undefined;
  const ticker = tickerOf(decodeURIComponent(location.pathname.slice(ROOT.pathname.length)));
  list.select(ticker);
  document.body.dataset["page"] = ticker === "" ? "list" : "opened";
  if (ticker === "") {
    document.title = "quotes";
    return;
  }
  const { view, notices } = fromAddress(ticker, location.search);
  history.replaceState(null, "", toAddress(view));
  setText(byId("name"), pair(ticker));
  setText(byId("notice"), notices.join(" "));
  for (const id of ["price", "change", "age"]) setText(byId(id), "");
  document.title = `${pair(ticker)} · quotes`;
  showChoices(view);
  opened = new Opened(view, stream, () => list.cards.get(ticker)?.decimals ?? 0);
  tick();
}

byId("choices").addEventListener("change", ({ target }) => {
  if (!opened || !(target instanceof HTMLInputElement)) return;
  const { name, value } = target;
  history.replaceState(null, "", toAddress(chosenView(opened.view, target)));
  look();
  document.querySelector<HTMLInputElement>(`input[name="${name}"][value="${value}"]`)?.focus();
});

document.addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  const plain = !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
  if (!link || !plain || link.origin !== location.origin || link.dataset["leaves"] === "") return;
  event.preventDefault();
  history.pushState(null, "", link.href);
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
    if (opened?.view.ticker === quote.ticker) opened.quote(quote);
    tick();
  },
  connection(state) {
    connection = state;
    document.body.dataset["connection"] = state;
    setText(byId("connection"), WORDS[state]);
    tick();
  },
});

/** Reads why prices are late, periodically, as long as a price is due. */
function readCauses(): void {
  const cards = [...list.cards.values()];
  const late = cards.some(({ ticker, latest }) => ticker.collected && stateOf(latest) !== "live");
  if (!late || connection !== "live" || document.hidden || Date.now() < causesDue) return;
  causesDue = Date.now() + CAUSES * (1 + Math.random() / 2);
  tickers.soon();
}

setInterval(() => {
  tick();
  readCauses();
}, 1_000);

byId("list-query").setAttribute("href", explorer(Tickers, {}));
byId("stream-query").setAttribute("href", explorer(Prices, {}));
tickers.now();
look();
