// The few ways this page makes and fills its elements. Text is always text, never markup.

/** A new element with the attributes given, holding `children` in order. */
export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Record<string, string> = {},
  ...children: Array<Node | string>
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** The page's own element of that id. */
export function byId(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`page.html has no #${id}`);
  return found;
}

/** Touches the document only where the text is new; `title` is what a pointer over it shows. */
export function setText(place: HTMLElement, text: string, title = ""): void {
  if (place.textContent !== text) place.textContent = text;
  if (place.title !== title) place.title = title;
}
