// The audits of GraphQL over HTTP that the npm package graphql-http holds: `node audits.mjs URL`.
//
// Prints a line of JSON for each: its id, its name, and why it failed if it did.
import { auditServer } from "graphql-http";

const [url] = process.argv.slice(2);
for (const { id, name, status, reason = null } of await auditServer({ url })) {
  console.log(JSON.stringify({ id, name, fault: status === "ok" ? null : reason }));
}
