// The opened ticker's choices: interval, range, and whose clocks the times are of.
import { byId, element, setText } from "./element";
import { RANGES, type View, intervalsWith, misfit, withInterval } from "./view";
import { UTC, chooseZone, ownZone } from "./zones";

interface Choice {
  value: string;
  words: string;
  unfit?: string; // why it cannot be chosen
}

export function showChoices(view: View): void {
  const { interval, range, zone } = view;
  fill("intervals", "interval", intervalsWith(interval).map(plain), interval);
  const ranges = Object.entries(RANGES).map(([value, { words }]) => ({
    value,
    words,
    unfit: misfit(interval, value),
  }));
  fill("ranges", "range", ranges, range);
  const zones = [...new Set([UTC, ownZone(), zone])];
  fill("zones", "zone", zones.map(plain), zone);
  byId("times").hidden = zones.length === 1;
  for (const id of ["zone", "table-zone"]) setText(byId(id), zone);
}

/** The view that was chosen by that input; a zone is remembered for other views and visits. */
export function chosenView(view: View, { name, value }: HTMLInputElement): View {
  if (name === "interval") return withInterval(view, value);
  if (name === "range") return { ...view, range: value };
  chooseZone(value);
  return { ...view, zone: value };
}

const plain = (value: string): Choice => ({ value, words: value });

function fill(id: string, name: string, choices: Choice[], chosen: string): void {
  byId(id).replaceChildren(
    ...choices.map(({ value, words, unfit = "" }) => {
      const input = element("input", { type: "radio", name, value });
      input.checked = value === chosen;
      input.disabled = unfit !== "";
      return element("label", unfit ? { title: unfit } : {}, input, element("span", {}, words));
    }),
  );
}
