// A query with its variables, sent to the service that this page came from.
import { ENDPOINT } from "./root";
import { askForToken, authorization } from "./token";

/** A document's text, typed by its answer and its variables. */
export type Operation<Answer, Variables> = string & { readonly of?: (given: Variables) => Answer };

/** The service refused, in its own words; `code` is one of its codes. */
export class Refused extends Error {
  constructor(
    message: string,
    readonly code: string,
  ) {
    super(message);
  }
}

type Response<Answer> = {
  data?: Answer | null;
  errors?: Array<{ message: string; extensions?: { code?: string } }>;
};

/** Throws Refused for an answer with errors, and TypeError where no answer comes. */
export async function query<Answer, Variables>(
  document: Operation<Answer, Variables>,
  variables: Variables,
): Promise<Answer> {
  const response = await fetch(ENDPOINT, {
    method: "POST",
    headers: { "content-type": "application/json", ...authorization() },
    body: JSON.stringify({ query: document, variables }),
  });
  if (response.status === 401) askForToken();
  const { data, errors } = await bodyOf<Answer>(response);
  const [error] = errors ?? [];
  if (error) throw new Refused(error.message, error.extensions?.code ?? "");
  if (!data) throw new Refused(`The service answered with status ${response.status}.`, "");
  return data;
}

/** Nothing where it is no JSON, as when a proxy answers for the service. */
async function bodyOf<Answer>(response: globalThis.Response): Promise<Response<Answer>> {
  try {
    return await response.json();
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

/** The explorer's address with this query and these variables. */
export function explorer<Variables>(
  document: Operation<unknown, Variables>,
  variables: Variables,
): string {
  const parameters = new URLSearchParams({ query: document });
  if (Object.keys(variables ?? {}).length > 0) {
    parameters.set("variables", JSON.stringify(variables, null, 2));
  }
  return `${ENDPOINT}?${parameters}`;
}
