// The candle chart. Prices become floats here and only here, to be drawn.
import {
  type CandlestickData,
  CandlestickSeries,
  ColorType,
  CrosshairMode,
  type IChartApi,
  type IPriceLine,
  type ISeriesApi,
  type LineData,
  LineSeries,
  LineStyle,
  type Time,
  type UTCTimestamp,
  type WhitespaceData,
  createChart,
} from "lightweight-charts";
import type { Candle } from "./candles";

const THEME = matchMedia("(prefers-color-scheme: dark)");

export class Chart {
  readonly #chart: IChartApi;
  readonly #series: ISeriesApi<"Candlestick">;
  readonly #thread: ISeriesApi<"Line">; // through the closes: candles of one price are mere dots
  readonly #line: IPriceLine;
  #candles: Candle[] = [];

  /** `pointed` is told the candle under the pointer, and undefined where there is none. */
  constructor(place: HTMLElement, pointed: (candle: Candle | undefined) => void) {
    this.#chart = createChart(place, {
      autoSize: true,
      crosshair: { mode: CrosshairMode.Magnet },
      layout: { attributionLogo: false }, // it would load an inline style; the footer names it
      timeScale: { timeVisible: true, rightOffset: 3 },
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
    THEME.addEventListener("change", this.#paint);
    this.#paint();
  }

  /** Draws all anew; the view stays where it is unless all is to `fit`. */
  begin(candles: Candle[], fit: boolean): void {
    this.#candles = candles;
    const precision = decimals(candles.findLast(({ close }) => close !== null)?.close);
    const priceFormat = { type: "price" as const, precision, minMove: 10 ** -precision };
    this.#series.applyOptions({ priceFormat });
    this.#draw();
    if (fit) this.#chart.timeScale().fitContent();
  }

  /** Draws what has changed from that candle on, and leaves the view where it is. */
  goOn(candles: Candle[], from: number): void {
    const newest = this.#candles.length - 1;
    this.#candles = candles;
    for (const [index, candle] of candles.entries()) {
      if (index >= from) this.#series.update(drawn(candle), index < newest);
      if (index < from - 1) continue; // whether the line goes on from a candle is the next one's matter
      this.#thread.update(threaded(candle, candles[index + 1]), index < newest);
    }
    this.#tellNewest();
  }

  /** The place of the crosshair moves to that candle. */
  point(candle: Candle): void {
    this.#chart.setCrosshairPosition(Number(candle.close), seconds(candle), this.#series);
  }

  close(): void {
    THEME.removeEventListener("change", this.#paint);
    this.#chart.remove();
  }

  #draw(): void {
    this.#series.setData(this.#candles.map(drawn));
    this.#thread.setData(this.#candles.map((candle, at, all) => threaded(candle, all[at + 1])));
    this.#tellNewest();
  }

  #tellNewest(): void {
    const newest = this.#candles.findLast(({ close }) => close !== null);
    if (newest)
      this.#line.applyOptions({ price: Number(newest.close), color: colour(inkOf(newest)) });
  }

  readonly #paint = (): void => {
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
  };
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

/** Of the scale alone: six digits of the price, and two after the point at least. */
function decimals(price: string | null | undefined): number {
  const value = Number(price ?? 1);
  return Math.min(12, Math.max(2, 5 - Math.floor(Math.log10(value))));
}

function inkOf({ open, close }: Candle): string {
  return Number(close) < Number(open) ? "--down" : "--up";
}

function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
