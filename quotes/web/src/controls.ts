// The list's own controls: search, order and favourites, and what they leave of it.
import { byId, element, setText } from "./element";
import type { List } from "./list";
import {
  type Listing,
  SORTS,
  followed,
  hasForeignStars,
  keepStars,
  ownStars,
  starredOrNot,
} from "./listing";

/** Calls `changed` with the listing that the viewer chose. */
export function listenToControls(list: List, changed: (listing: Listing) => void): void {
  const search = byId("search") as HTMLInputElement;
  const sort = byId("sort") as HTMLSelectElement;
  sort.replaceChildren(
    ...Object.entries(SORTS).map(([value, words]) => element("option", { value }, words)),
  );
  const clear = (): void => {
    changed({ ...list.listing, search: "" });
    search.focus();
  };
  search.addEventListener("input", () => changed({ ...list.listing, search: search.value }));
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    clear();
  });
  sort.addEventListener("change", () => changed({ ...list.listing, sort: sort.value }));
  byId("clear").addEventListener("click", clear);
  byId("listing").addEventListener("submit", (event) => {
    event.preventDefault();
    list.shown[0]?.link.focus();
  });
  byId("cards").addEventListener("click", ({ target }) => {
    const star = target instanceof Element ? target.closest<HTMLElement>("[data-star]") : null;
    if (star) changed(starredOrNot(list.listing, star.dataset["star"] ?? ""));
  });
  byId("keep-stars").addEventListener("click", () => {
    keepStars(list.listing.starred);
    changed(list.listing);
  });
  byId("own-stars").addEventListener("click", () =>
    changed({ ...list.listing, starred: ownStars() }),
  );
  addEventListener("storage", (event) => changed(followed(list.listing, event)));
  addEventListener("keydown", (event) => {
    const modified = event.metaKey || event.ctrlKey || event.altKey;
    const typing = event.target instanceof Element && event.target.closest("input, select, dialog");
    if (event.key !== "/" || modified || typing || search.offsetParent === null) return;
    event.preventDefault();
    search.select();
  });
}

/** What the controls show: the listing, how many cards it leaves, and what to do where it is none. */
export function showControls({ cards, shown, listing }: List): void {
  const search = byId("search") as HTMLInputElement;
  if (search.value !== listing.search) search.value = listing.search;
  (byId("sort") as HTMLSelectElement).value = listing.sort;
  const all = cards.size;
  const searched = listing.search.trim() !== "";
  const count = searched ? `${shown.length} of ${all}` : `${all} ticker${all === 1 ? "" : "s"}`;
  setText(byId("count"), all > 0 ? count : "");
  const none = all > 0 && shown.length === 0;
  byId("unmatched").hidden = !none;
  setText(byId("unmatched-words"), none ? unmatched(listing.search.trim()) : "");
  byId("foreign-stars").hidden = all === 0 || !hasForeignStars(listing);
}

function unmatched(search: string): string {
  return (
    `No ticker here matches “${search}”. Try a part of its name, as btc or usdc. ` +
    "One that is not collected yet is added in QUOTES_TICKERS."
  );
}
