// The candle chart. Prices become floats here and only here, to be drawn.
import {
  type CandlestickData,
  CandlestickSeries,
  ColorType,
  CrosshairMode,
  type IChartApi,
  type IPriceLine,
  type ISeriesApi,
  type ISeriesMarkersPluginApi,
  LineStyle,
  type Time,
  type UTCTimestamp,
  type WhitespaceData,
  createChart,
  createSeriesMarkers,
} from "lightweight-charts";
import type { Candle } from "./candles";

const THEME = matchMedia("(prefers-color-scheme: dark)");

export class Chart {
  readonly #chart: IChartApi;
  readonly #series: ISeriesApi<"Candlestick">;
  readonly #line: IPriceLine;
  readonly #marks: ISeriesMarkersPluginApi<Time>;
  #candles: Candle[] = [];

  /** `pointed` is told the candle under the pointer, and undefined where there is none. */
  constructor(place: HTMLElement, pointed: (candle: Candle | undefined) => void) {
    this.#chart = createChart(place, {
      autoSize: true,
      crosshair: { mode: CrosshairMode.Magnet },
      layout: { attributionLogo: false }, // it would load an inline style; the footer names it
      timeScale: { timeVisible: true, rightOffset: 3 },
    });
    this.#series = this.#chart.addSeries(CandlestickSeries, {
      lastValueVisible: false, // its own colour would be that of a candle under way: none
      priceLineVisible: false,
    });
    this.#line = this.#series.createPriceLine({ price: 0, lineStyle: LineStyle.Dotted });
    this.#marks = createSeriesMarkers(this.#series);
    this.#chart.subscribeCrosshairMove(({ time }) =>
      pointed(this.#candles.find((candle) => seconds(candle) === time)),
    );
    THEME.addEventListener("change", this.#paint);
    this.#paint();
  }

  /** Draws all anew; the view stays where it is unless all is to `fit`. */
  begin(candles: Candle[], fit: boolean): void {
    this.#candles = candles;
    const precision = Math.max(...candles.map(({ close }) => close?.split(".")[1]?.length ?? 0), 0);
    const priceFormat = { type: "price" as const, precision, minMove: 10 ** -precision };
    this.#series.applyOptions({ priceFormat });
    this.#series.setData(candles.map((candle) => this.#drawn(candle)));
    this.#mark();
    if (fit) this.#chart.timeScale().fitContent();
  }

  /** Draws what has changed from that candle on, and leaves the view where it is. */
  goOn(candles: Candle[], from: number): void {
    const newest = this.#candles.length - 1;
    this.#candles = candles;
    for (const [index, candle] of candles.entries()) {
      if (index >= from) this.#series.update(this.#drawn(candle), index < newest);
    }
    this.#mark();
  }

  /** The place of the crosshair moves to that candle. */
  point(candle: Candle): void {
    this.#chart.setCrosshairPosition(Number(candle.close), seconds(candle), this.#series);
  }

  close(): void {
    THEME.removeEventListener("change", this.#paint);
    this.#chart.remove();
  }

  #drawn(candle: Candle): CandlestickData<Time> | WhitespaceData<Time> {
    const time = seconds(candle);
    const { open, high, low, close } = candle;
    if (open === null || high === null || low === null || close === null) return { time };
    const ink = colour(inkOf(candle));
    return {
      time,
      open: Number(open),
      high: Number(high),
      low: Number(low),
      close: Number(close),
      borderColor: ink,
      wickColor: ink,
      color: candle.complete ? (candle.coverage < 1 ? `${ink}55` : ink) : colour("--ground"),
    };
  }

  /** What stands beside the candles: the newest price, and which were filled in afterwards. */
  #mark(): void {
    const newest = this.#candles.findLast(({ close }) => close !== null);
    if (newest)
      this.#line.applyOptions({ price: Number(newest.close), color: colour(inkOf(newest)) });
    this.#marks.setMarkers(
      this.#candles
        .filter(({ repaired }) => repaired > 0)
        .map((candle) => ({
          time: seconds(candle),
          position: "belowBar",
          shape: "circle",
          size: 0.5,
          color: colour("--mark"),
        })),
    );
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
    this.#series.setData(this.#candles.map((candle) => this.#drawn(candle)));
    this.#mark();
  };
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
