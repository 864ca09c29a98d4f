// A live subscription that loses nothing: graphql-ws, and the cursor of each subscription.
import type { GraphQLFormattedError } from "graphql";
import {
  type Client,
  type ClientOptions,
  type FormattedExecutionResult,
  MessageType,
  type SubscribePayload,
  createClient,
} from "graphql-ws";

const PING = 10_000; // milliseconds of silence until the server is pinged
const PONG = 10_000; // milliseconds that it has to answer
const LONGEST_WAIT = 5_000; // milliseconds between two attempts to connect

/**
 * A graphql-ws client that notices a dead connection, connects again for ever, and lets each
 * subscription go on after the last `cursor` that it saw. For that, a document takes `$after`,
 * passes it to its field and selects `cursor`; any other begins again.
 */
export function connect(url: string, options: Partial<ClientOptions> = {}): Client {
  const seen = new Map<string, string>(); // the last cursor of each operation, by its id
  let unanswered: ReturnType<typeof setTimeout> | undefined;
  const client = createClient({
    url,
    keepAlive: PING,
    retryAttempts: Infinity,
    retryWait: (retries) => pause(Math.min(250 * 2 ** retries, LONGEST_WAIT) * Math.random()),
    shouldRetry: () => true,
    jsonMessageReplacer: (key, value) => (key === "" ? continued(value, seen) : value),
    ...options,
  });
  client.on("message", (message) => {
    if (message.type === MessageType.Next) {
      const cursor = cursorOf(message.payload.data);
      if (cursor !== undefined) seen.set(message.id, cursor);
    } else if (message.type === MessageType.Error) seen.delete(message.id);
  });
  client.on("ping", (received) => {
    if (!received) unanswered = setTimeout(() => client.terminate(), PONG);
  });
  client.on("pong", () => clearTimeout(unanswered));
  client.on("closed", () => clearTimeout(unanswered));
  return client;
}

/**
 * As `client.iterate`, but where the log has lost the cursor, as after a restore of an older copy,
 * the next result has the `errors`, and the newest quotes follow.
 */
export async function* follow<Data = Record<string, unknown>>(
  client: Client,
  payload: SubscribePayload,
): AsyncGenerator<FormattedExecutionResult<Data, unknown>> {
  for (;;) {
    try {
      yield* client.iterate<Data>(payload);
      return;
    } catch (error) {
      if (!isCursorLost(error)) throw error;
      yield { errors: error };
      payload = { ...payload, variables: { ...payload.variables, after: null } };
    }
  }
}

function isCursorLost(error: unknown): error is readonly GraphQLFormattedError[] {
  return Array.isArray(error) && error[0]?.extensions?.code === "CURSOR_LOST";
}

/** A subscription has one field, and so one cursor. */
function cursorOf(data: Record<string, unknown> | null | undefined): string | undefined {
  const [field] = Object.values(data ?? {}) as Array<{ cursor?: string } | null>;
  return field?.cursor;
}

type Sent = { type: MessageType; id: string; payload: { variables?: object } };

/** What is sent to the server. A subscription is sent again, with its id, at each connection. */
function continued(message: Sent, seen: Map<string, string>): Sent {
  if (message.type === MessageType.Complete) seen.delete(message.id);
  const after = seen.get(message.id);
  if (message.type !== MessageType.Subscribe || after === undefined) return message;
  const { payload } = message;
  return { ...message, payload: { ...payload, variables: { ...payload.variables, after } } };
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((done) => setTimeout(done, milliseconds));
}
