// The access token that a service may require, stored by the browser once it was given.
import { element } from "./element";

const STORED = "token"; // its key in this browser
let shown = false;

/** The header, and the payload of connection_init, of a viewer who has given a token. */
export function authorization(): Record<string, string> {
  const token = stored();
  return token === null ? {} : { authorization: `Bearer ${token}` };
}

/** Asks the viewer for a token, once; the page begins again with it. */
export function askForToken(): void {
  if (shown) return;
  shown = true;
  const input = element("input", {
    type: "password",
    name: "token",
    autocomplete: "off",
    required: "",
  });
  const wrong = stored() === null ? "" : "The token given before is not accepted any more. ";
  const form = element(
    "form",
    {},
    element("label", {}, `${wrong}This service asks for an access token.`, input),
    element("button", {}, "Continue"),
  );
  const dialog = element("dialog", { id: "token" }, form);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    store(input.value.trim());
    location.reload();
  });
  document.body.append(dialog);
  dialog.showModal();
}

function stored(): string | null {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null; // the browser allows no storage
  }
}

function store(token: string): void {
  try {
    localStorage.setItem(STORED, token);
  } catch {
    // the browser allows no storage, or has no room: it is asked for again
  }
}
