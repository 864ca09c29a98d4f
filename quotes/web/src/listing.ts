// What of the list is looked at: the search, the order and the favourites, as the address holds them.

export interface Listing {
  search: string;
  sort: string;
  starred: readonly string[]; // tickers' names
}

/** How cards can be sorted, in words. */
export const SORTS: Record<string, string> = {
  name: "Name",
  rise: "Highest change",
  fall: "Lowest change",
  fresh: "Freshest",
  stale: "Stalest",
};
const USUAL_SORT = "name";
const LONGEST = 100; // characters of a search
const MOST = 500; // favourites, which keeps an address short enough for the service
const STORED = "starred"; // the key of the viewer's own favourites in this browser

/** What the address names, the viewer's own favourites where it names none; and what it cannot. */
export function listingOf(search: string): { listing: Listing; notices: string[] } {
  const parameters = new URLSearchParams(search);
  const sort = parameters.get("sort")?.trim().toLowerCase() || USUAL_SORT;
  const known = Object.hasOwn(SORTS, sort);
  const shown = sort.length > 20 ? `${sort.slice(0, 20)}…` : sort;
  const notice = `There is no order “${shown}”. There are ${Object.keys(SORTS).join(", ")}.`;
  const listing = {
    search: (parameters.get("search") ?? "").slice(0, LONGEST),
    sort: known ? sort : USUAL_SORT,
    starred: parameters.has("starred") ? namesIn(parameters.get("starred")) : ownStars(),
  };
  return { listing, notices: known ? [] : [notice] };
}

/** The path with these parameters and the listing's, as far as it is not the usual one. */
export function addressOf(
  path: string,
  { search, sort, starred }: Listing,
  parameters = new URLSearchParams(),
): string {
  if (search.trim() !== "") parameters.set("search", search);
  if (sort !== USUAL_SORT) parameters.set("sort", sort);
  if (starred.length > 0 || ownStars().length > 0) parameters.set("starred", starred.join(","));
  const text = parameters.toString().replaceAll("%2C", ",");
  return text === "" ? path : `${path}?${text}`;
}

/** With that ticker as a favourite, or no longer. One's own are remembered in this browser. */
export function starredOrNot(listing: Listing, ticker: string): Listing {
  const others = listing.starred.filter((name) => name !== ticker);
  const starred =
    others.length < listing.starred.length ? others : [...others, ticker].slice(-MOST);
  if (!hasForeignStars(listing)) keepStars(starred);
  return { ...listing, starred };
}

/** Whether its favourites came with an address, and are not those remembered in this browser. */
export function hasForeignStars({ starred }: Listing): boolean {
  return !areSame(starred, ownStars());
}

/** With the viewer's own favourites, if it had them until another window of the page changed them. */
export function followed(listing: Listing, { key, oldValue }: StorageEvent): Listing {
  const own = key === STORED && areSame(listing.starred, namesIn(oldValue));
  return own ? { ...listing, starred: ownStars() } : listing;
}

function areSame(some: readonly string[], others: readonly string[]): boolean {
  return [...some].sort().join() === [...others].sort().join();
}

/** Whether each word of the search is in the name, however its parts are joined. */
export function matches(name: string, search: string): boolean {
  const plain = (text: string): string => text.toLowerCase().replace(/[/_-]/g, " ");
  return plain(search)
    .split(/\s+/)
    .every((word) => plain(name).includes(word));
}

export function ownStars(): string[] {
  try {
    return namesIn(localStorage.getItem(STORED));
  } catch {
    return []; // the browser allows no storage
  }
}

export function keepStars(starred: readonly string[]): void {
  try {
    localStorage.setItem(STORED, starred.join(","));
  } catch {
    // the browser allows no storage, or has no room: the address holds them as well
  }
}

function namesIn(text: string | null): string[] {
  const names = (text ?? "").toLowerCase().split(",");
  return [...new Set(names.filter((name) => /^[a-z0-9_-]{1,32}$/.test(name)))].slice(0, MOST);
}
