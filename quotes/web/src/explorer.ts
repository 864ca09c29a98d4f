// The explorer of /graphql: GraphiQL with a tab for each use, and the tab's query in the address.
import { createGraphiQLFetcher } from "@graphiql/toolkit";
import { GraphiQL } from "graphiql";
import { createElement } from "react";
import { createRoot } from "react-dom/client";
import "./explorer.css";
import { query } from "./query";
import { connect } from "./client";
import { ENDPOINT, ROOT, SOCKET } from "./root";
import { authorization } from "./token";
import { Begin } from "../generated/examples";
import { type Tab, tabs } from "./tabs";

declare const WORKERS: Record<string, string>; // where build.js put them, by monaco's labels

Object.assign(globalThis, {
  MonacoEnvironment: {
    getWorker: (_: string, label: string) =>
      new Worker(new URL(WORKERS[label] ?? "", ROOT), { type: "module" }),
  },
});

/** GraphiQL may store its theme and its history here, but begins with our tabs each time. */
const storage = {
  get length() {
    return localStorage.length;
  },
  clear: () => localStorage.clear(),
  getItem: (key: string) => (key.endsWith(":tabState") ? null : localStorage.getItem(key)),
  setItem: (key: string, text: string) => localStorage.setItem(key, text),
  removeItem: (key: string) => localStorage.removeItem(key),
};

function fromAddress(): Tab[] {
  const parameters = new URLSearchParams(location.search);
  const document = parameters.get("query");
  if (document === null) return [];
  return [{ query: document, variables: parameters.get("variables") ?? "" }];
}

function toAddress({
  query,
  variables,
}: {
  query: string | null;
  variables?: string | null;
}): void {
  const parameters = new URLSearchParams({ query: query ?? "" });
  if (variables) parameters.set("variables", variables);
  history.replaceState(null, "", `?${parameters}`);
}

async function show(place: Element): Promise<void> {
  const begin = await query(Begin, {}).catch(() => null); // the examples need no service to be read
  const given = fromAddress();
  const ready = tabs(begin).filter(({ query }) => query !== given[0]?.query);
  const shown = [...given, ...ready];
  place.removeAttribute("role");
  createRoot(place).render(
    createElement(GraphiQL, {
      fetcher: createGraphiQLFetcher({
        url: ENDPOINT,
        headers: authorization(),
        wsClient: connect(SOCKET, { connectionParams: authorization }),
      }),
      storage,
      defaultTabs: shown,
      initialQuery: shown[0]?.query ?? "",
      initialVariables: shown[0]?.variables ?? "",
      inputValueDeprecation: true,
      schemaDescription: true,
      isHeadersEditorEnabled: false,
      onTabChange: ({ tabs, activeTabIndex }) => toAddress(tabs[activeTabIndex] ?? { query: "" }),
    }),
  );
}

const place = document.querySelector("#explorer");
if (place) await show(place);
