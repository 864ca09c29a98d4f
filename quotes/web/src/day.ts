// A ticker's last day as points: its change over the day and its sparkline.

export type Point = readonly [seconds: number, price: number]; // floats, to be drawn

const DAY = 86_400; // seconds
const OLDEST_BASE = DAY / 10; // seconds: a base is at most so much older than a day, as for `change`
const BREAK = DAY / 16; // seconds: a line is not drawn over a longer time without prices
const WIDTH = 120;
const HEIGHT = 32;

/** Seconds before the newest price that a point is needed for. */
export const SPAN = DAY + OLDEST_BASE;

/** How far the newest point is from the one a day before it, in percent; undefined without one. */
export function changeOverDay(points: Point[]): number | undefined {
  const newest = points.at(-1);
  if (!newest) return undefined;
  const dayBefore = newest[0] - DAY;
  const base = points.findLast(([seconds]) => seconds <= dayBefore);
  if (!base || dayBefore - base[0] >= OLDEST_BASE) return undefined;
  return ((newest[1] - base[1]) / base[1]) * 100;
}

/** Both in order, without points that are too old; `newer` wins where a minute is in both. */
export function merged(older: Point[], newer: Point[]): Point[] {
  const points = [...new Map([...older, ...newer])].sort(([one], [other]) => one - other);
  const first = (points.at(-1)?.[0] ?? 0) - SPAN;
  return points.filter(([seconds]) => seconds >= first);
}

/** The day up to now; what is older is left out. */
export function sparkline(points: Point[]): SVGElement {
  const from = Date.now() / 1000 - DAY;
  const drawn = points.filter(([seconds]) => seconds >= from);
  const prices = drawn.map(([, price]) => price);
  const [low, high] = [Math.min(...prices), Math.max(...prices)];
  const path = drawn.map(([seconds, price], index) => {
    const x = Math.min((seconds - from) / DAY, 1) * WIDTH;
    const y = HEIGHT - 1 - ((price - low) / (high - low || 1)) * (HEIGHT - 2);
    const joined = seconds - (drawn[index - 1]?.[0] ?? 0) < BREAK;
    return `${joined ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
  });
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.setAttribute("d", path.join(""));
  svg.append(line);
  return svg;
}
