// PostGraphile 5 on the same database: `node postgraphile.mjs PORT DATABASE_URL`.
//
// Two subscriptions, each with a topic of LISTEN for each ticker. `quoteUpdates` is its manual's way: the
// notification names the row, which is read from the table. `priceUpdates` needs no query: the
// notification carries the whole quote, as long as that fits in 8,000 bytes.
import { createServer } from "node:http";
import { context, get, lambda, listen } from "postgraphile/grafast";
import { grafserv } from "postgraphile/grafserv/node";
import { extendSchema, gql } from "postgraphile/utils";
import { makePgService } from "postgraphile/adaptors/pg";
import { postgraphile } from "postgraphile";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";

const [port, connectionString] = process.argv.slice(2);
const field = (name) => ($event) => get($event, name);

function listening(_$root, { $ticker }) {
  const $topic = lambda($ticker, (ticker) => `live:${ticker}`);
  const parsed = ($event) => lambda($event, (text) => JSON.parse(text));
  return listen(context().get("pgSubscriber"), $topic, parsed);
}

const live = extendSchema((build) => ({
  typeDefs: gql`
    extend type Subscription {
      priceUpdates(ticker: String!): LiveQuote
      quoteUpdates(ticker: String!): Quote
    }
    type LiveQuote {
      ticker: String
      price: String
      at: String
      seq: Int
    }
  `,
  objects: {
    Subscription: {
      plans: {
        priceUpdates: { subscribePlan: listening, plan: ($event) => $event },
        quoteUpdates: {
          subscribePlan: listening,
          plan: ($event) =>
            build.pgResources.quotes.get({
              ticker: get($event, "ticker"),
              minute: get($event, "at"),
            }),
        },
      },
    },
    LiveQuote: {
      plans: Object.fromEntries(["ticker", "price", "at", "seq"].map((name) => [name, field(name)])),
    },
  },
}));

const instance = postgraphile({
  extends: [PostGraphileAmberPreset],
  plugins: [live],
  pgServices: [makePgService({ connectionString, schemas: ["public"], pubsub: true })],
  grafserv: { websockets: true, graphiql: false, watch: false },
  grafast: { explain: false },
});
const server = createServer();
await instance.createServ(grafserv).addTo(server);
server.listen({ port: Number(port), host: "127.0.0.1", backlog: 2048 }, () => console.log("open"));
process.on("SIGTERM", () => process.exit(0));
