// What a front end's own clients see: `node clients.mjs graphql-ws|urql|events URL COUNT`.
//
// Prints each quote's cursor on a line of its own, and ends once it has COUNT of them. Nothing here
// knows of restarts: the libraries reconnect, and the document's `after` is the last cursor seen.
import { createClient } from "graphql-ws";
import { Client, fetchExchange, subscriptionExchange } from "@urql/core";
import WebSocket from "ws";

const [kind, url, count] = process.argv.slice(2);
const query = "subscription ($after: String) { priceUpdates(after: $after) { cursor } }";
let left = Number(count);
const variables = { after: "s0" };

function seen(cursor) {
  variables.after = cursor;
  console.log(cursor);
  if (--left === 0) process.exit(0);
}

function socketClient() {
  return createClient({
    url: url.replace("http", "ws"),
    webSocketImpl: WebSocket,
    retryAttempts: 1_000,
    retryWait: () => new Promise((resolve) => setTimeout(resolve, 100)),
    shouldRetry: () => true,
  });
}

// The getter is read anew at each reconnect, so the library itself resumes.
const resuming = {
  query,
  get variables() {
    return { ...variables };
  },
};

const clients = {
  "graphql-ws"() {
    socketClient().subscribe(resuming, {
      next: ({ data }) => seen(data.priceUpdates.cursor),
      error: (error) => fail(error),
      complete: () => {},
    });
  },
  urql() {
    const socket = socketClient();
    const client = new Client({
      url,
      preferGetMethod: false,
      exchanges: [
        fetchExchange,
        subscriptionExchange({
          forwardSubscription: () => ({
            subscribe: (sink) => ({ unsubscribe: socket.subscribe(resuming, sink) }),
          }),
        }),
      ],
    });
    client.subscription(query, { after: "s0" }).subscribe(({ data, error }) => {
      if (error) fail(error);
      seen(data.priceUpdates.cursor);
    });
  },
};

function fail(error) {
  console.error(error);
  process.exit(1);
}

clients[kind]();
