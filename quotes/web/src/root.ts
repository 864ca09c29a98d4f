// Where the service is published: at the root of its host, or under a path of a proxy's.

/** The folder above the assets, one of which this script is. */
export const ROOT = new URL("..", import.meta.url);

export const ENDPOINT = `${ROOT.pathname}graphql`;
export const SOCKET = `${ROOT.origin.replace(/^http/, "ws")}${ENDPOINT}`;
