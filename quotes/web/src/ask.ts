// A query with its variables, sent to the service that this page came from.

/** A document's text, which knows what it answers and what it must be given. */
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

type Whole<Answer> = {
  data?: Answer | null;
  errors?: Array<{ message: string; extensions?: { code?: string } }>;
};

/** Throws Refused for an answer with errors, and TypeError where no answer comes. */
export async function ask<Answer, Variables>(
  query: Operation<Answer, Variables>,
  variables: Variables,
): Promise<Answer> {
  const response = await fetch("/graphql", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors }: Whole<Answer> = await response.json();
  const [error] = errors ?? [];
  if (error) throw new Refused(error.message, error.extensions?.code ?? "");
  if (!data) throw new Refused(`The service answered with status ${response.status}.`, "");
  return data;
}

/** The explorer's address for the very query and variables. */
export function explorer<Variables>(
  query: Operation<unknown, Variables>,
  variables: Variables,
): string {
  const asked = new URLSearchParams({ query });
  if (Object.keys(variables ?? {}).length > 0) {
    asked.set("variables", JSON.stringify(variables, null, 2));
  }
  return `/graphql?${asked}`;
}
