// The candle chart. Prices become floats here and only here, to be drawn.
import {
  type CandlestickData,
  CandlestickSeries,
  ColorType,
  CrosshairMode,
  type IChartApiBase,
  type IPriceLine,
  type ISeriesApi,
  type LineData,
  LineSeries,
  LineStyle,
  type Time,
  type UTCTimestamp,
  type WhitespaceData,
  createChartEx,
} from "lightweight-charts";
import type { Candle } from "./candles";
import { byId } from "./element";
import { money } from "./format";
import { ZonedScale, markOf } from "./scale";
import { clockWithOffset } from "./zones";

const DARK = matchMedia("(prefers-color-scheme: dark)");
const PRINT = matchMedia("print");
const MOST_DECIMALS = 15; // of the axis: more are not in a float

export class Chart {
  readonly #chart: IChartApiBase<Time>;
  readonly #series: ISeriesApi<"Candlestick">;
  readonly #thread: ISeriesApi<"Line">; // through the closes: candles of one price are mere dots
  readonly #line: IPriceLine;
  readonly #ended = new AbortController();
  #candles: Candle[] = [];

  /** `pointed` gets the candle under the pointer, and undefined where there is none. */
  constructor(zone: string, pointed: (candle: Candle | undefined) => void) {
    this.#chart = createChartEx<Time, ZonedScale>(byId("chart"), new ZonedScale(zone), {
      autoSize: true,
      crosshair: { mode: CrosshairMode.Magnet },
      layout: { attributionLogo: false }, // it would load an inline style; the footer names it
      localization: { timeFormatter: (time: Time) => clockWithOffset(Number(time) * 1_000, zone) },
      timeScale: { timeVisible: true, rightOffset: 3, tickMarkFormatter: markOf(zone) },
    });
    this.#thread = this.#chart.addSeries(LineSeries, {
      lineWidth: 1,
      crosshairMarkerVisible: false,
      lastValueVisible: false,
      priceLineVisible: false,
    });
    this.#series = this.#chart.addSeries(CandlestickSeries, {
      lastValueVisible: false, // its own colour would be that of a candle under way: none
      priceLineVisible: false,
    });
    this.#line = this.#series.createPriceLine({ price: 0, lineStyle: LineStyle.Dotted });
    this.#chart.subscribeCrosshairMove(({ time }) =>
      pointed(this.#candles.find((candle) => seconds(candle) === time)),
    );
    const { signal } = this.#ended;
    DARK.addEventListener("change", () => this.#paint(), { signal });
    for (const [event, printing] of [
      ["beforeprint", true],
      ["afterprint", false],
    ] as const) {
      addEventListener(event, () => this.#print(printing), { signal });
    }
    PRINT.addEventListener("change", ({ matches }) => this.#print(matches), { signal });
    this.#paint();
  }

  /** Draws all anew; what is in view stays so unless all is to `fit`. */
  begin(candles: Candle[], decimals: number, fit: boolean): void {
    this.#candles = candles;
    const precision = Math.min(decimals, MOST_DECIMALS);
    const priceFormat = {
      type: "custom" as const,
      formatter: (price: number) => money(price.toFixed(precision), precision),
      minMove: 10 ** -precision,
    };
    // The first series gives the axis its format, the candles their price line.
    for (const series of [this.#thread, this.#series]) series.applyOptions({ priceFormat });
    this.#draw();
    if (fit) this.#chart.timeScale().fitContent();
  }

  /** Draws the candles that are new or different from that index on, and leaves the view alone. */
  goOn(candles: Candle[], from: number): void {
    const newest = this.#candles.length - 1;
    this.#candles = candles;
    for (const [index, candle] of candles.entries()) {
      if (index >= from) this.#series.update(drawn(candle), index < newest);
      if (index < from - 1) continue; // whether the line goes on from a candle is the next one's matter
      this.#thread.update(threaded(candle, candles[index + 1]), index < newest);
    }
    this.#markNewest();
  }

  /** The place of the crosshair moves to that candle. */
  point(candle: Candle): void {
    this.#chart.setCrosshairPosition(Number(candle.close), seconds(candle), this.#series);
  }

  close(): void {
    this.#ended.abort();
    this.#chart.remove();
    byId("printed").replaceChildren();
  }

  /** For paper: a picture in light colours, which takes any width as the chart itself cannot. */
  #print(printing: boolean): void {
    document.documentElement.toggleAttribute("data-printing", printing);
    this.#paint();
    byId("printed").replaceChildren(...(printing ? [this.#chart.takeScreenshot()] : []));
  }

  #draw(): void {
    this.#series.setData(this.#candles.map(drawn));
    this.#thread.setData(this.#candles.map((candle, at, all) => threaded(candle, all[at + 1])));
    this.#markNewest();
  }

  #markNewest(): void {
    const newest = this.#candles.findLast(({ close }) => close !== null);
    if (newest)
      this.#line.applyOptions({ price: Number(newest.close), color: colour(inkOf(newest)) });
  }

  #paint(): void {
    const [up, down, line] = [colour("--up"), colour("--down"), colour("--line")];
    this.#chart.applyOptions({
      layout: {
        background: { type: ColorType.Solid, color: colour("--ground") },
        textColor: colour("--quiet"),
        fontFamily: getComputedStyle(document.body).fontFamily,
      },
      grid: { vertLines: { color: line }, horzLines: { color: line } },
      rightPriceScale: { borderColor: line },
      timeScale: { borderColor: line },
    });
    this.#series.applyOptions({ upColor: up, downColor: down });
    this.#thread.applyOptions({ color: colour("--thread") });
    this.#draw();
  }
}

function drawn(candle: Candle): CandlestickData<Time> | WhitespaceData<Time> {
  const time = seconds(candle);
  const { open, high, low, close } = candle;
  if (open === null || high === null || low === null || close === null) return { time };
  const ink = colour(inkOf(candle));
  const edge = candle.repaired > 0 ? colour("--mark") : ink;
  return {
    time,
    open: Number(open),
    high: Number(high),
    low: Number(low),
    close: Number(close),
    borderColor: edge,
    wickColor: edge,
    color: candle.complete ? (candle.coverage < 1 ? `${ink}55` : ink) : colour("--ground"),
  };
}

/** A line would be drawn over a gap: from the candle before one it is not to be seen. */
function threaded(candle: Candle, next: Candle | undefined): LineData<Time> | WhitespaceData<Time> {
  const time = seconds(candle);
  if (candle.close === null) return { time };
  const ends = next !== undefined && next.close === null;
  return { time, value: Number(candle.close), ...(ends ? { color: "transparent" } : {}) };
}

function seconds({ openTime }: Candle): UTCTimestamp {
  return (Date.parse(openTime) / 1000) as UTCTimestamp;
}

function inkOf({ open, close }: Candle): string {
  return Number(close) < Number(open) ? "--down" : "--up";
}

function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
