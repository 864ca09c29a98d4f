// The chart's time axis by the clocks of a time zone. Without it lightweight-charts 5.2 marks the
// days, months and years of UTC.
import {
  type Time,
  type TimeChartOptions,
  type UTCTimestamp,
  TickMarkType,
  defaultHorzScaleBehavior,
} from "lightweight-charts";
import { clock, shifted } from "./zones";

const Base = defaultHorzScaleBehavior();
type Points = Parameters<InstanceType<typeof Base>["fillWeightsForPoints"]>[0];

/** A mark's weight shows whether it begins a day, a month or a year on the zone's clocks. */
export class ZonedScale extends Base {
  constructor(readonly zone: string) {
    super();
  }

  /** Typed by what they hold: `tickMarkFormatter` among them. */
  override options(): TimeChartOptions {
    return super.options() as TimeChartOptions;
  }

  override fillWeightsForPoints(points: Points, startIndex: number): void {
    const local = points.map((point) => {
      const seconds = shifted(Number(point.originalTime), this.zone) as UTCTimestamp;
      return { ...point, time: this.convertHorzItemToInternal(seconds) };
    });
    super.fillWeightsForPoints(local, startIndex);
    for (const [index, { timeWeight }] of local.entries()) {
      const point = points[index];
      if (point) point.timeWeight = timeWeight;
    }
  }
}

/** The label of a mark, as short as its weight allows. */
export function markOf(zone: string): (time: Time, kind: TickMarkType) => string {
  return (time, kind) => {
    const [date = "", hour = ""] = clock(Number(time) * 1_000, zone).split(" ");
    if (kind === TickMarkType.Year) return date.slice(0, 4);
    if (kind === TickMarkType.Month) return date.slice(0, 7);
    return kind === TickMarkType.DayOfMonth ? date.slice(5) : hour;
  };
}
