// A ticker's last day as points: its change over the day and its sparkline.

export type Point = readonly [seconds: number, price: number]; // floats, to be drawn

const DAY = 86_400; // seconds
const SPAN = DAY + DAY / 10; // seconds: the first point is at most so much older than the newest
const BREAK = DAY / 16; // seconds: a line is not drawn over a longer time without prices
const STEP = DAY / 96; // seconds of which a line needs two points, however long the page is open
const WIDTH = 120;
const HEIGHT = 32;

/** The point that a day's change is computed from; undefined where the first is younger than a day. */
export function baseOf(points: Point[]): Point | undefined {
  const [first, newest] = [points[0], points.at(-1)];
  return first && newest && newest[0] - first[0] >= DAY ? first : undefined;
}

/** Both in order, without points that are too old; `newer` wins where a minute is in both. */
export function merged(older: Point[], newer: Point[]): Point[] {
  const points = [...new Map([...older, ...newer])].sort(([one], [other]) => one - other);
  const first = (points.at(-1)?.[0] ?? 0) - SPAN;
  return points.filter(([seconds]) => seconds >= first);
}

/** The points with one more, which takes the place of the last where its step has two already. */
export function extended(points: Point[], point: Point): Point[] {
  const step = ([seconds]: Point): number => Math.floor(seconds / STEP);
  const [before, last] = points.slice(-2);
  const full = before && last && last[0] < point[0] && step(before) === step(point);
  return merged(full ? points.slice(0, -1) : points, [point]);
}

/** The day up to now, from the last point before it. */
export function sparkline(points: Point[]): SVGElement {
  const from = Date.now() / 1000 - DAY;
  const before = points.findLastIndex(([seconds]) => seconds < from);
  const drawn = points.slice(Math.max(before, 0));
  const prices = drawn.map(([, price]) => price);
  const [low, high] = [Math.min(...prices), Math.max(...prices)];
  const path = drawn.map(([seconds, price], index) => {
    const x = Math.min(Math.max((seconds - from) / DAY, 0), 1) * WIDTH;
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
