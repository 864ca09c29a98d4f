// Times as the clocks of a time zone show them.

export const UTC = "UTC";
const STORED = "zone"; // the key of the viewer's choice in this browser

/** The zone's name as browser and service know it; undefined for what is none. */
export function zoneOf(name: string): string | undefined {
  if (!/^[a-z]/i.test(name)) return undefined; // "+02:00" is an offset, which the service refuses
  try {
    const { timeZone } = new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions();
    return timeZone === "Etc/UTC" || timeZone === "Etc/Unknown" ? UTC : timeZone;
  } catch {
    return undefined; // RangeError, the only error: no such zone
  }
}

/** The zone of the machine that the page is looked at on. */
export function ownZone(): string {
  return zoneOf(new Intl.DateTimeFormat().resolvedOptions().timeZone) ?? UTC;
}

/** What the viewer chose last in this browser, UTC before that. */
export function chosenZone(): string {
  try {
    return zoneOf(localStorage.getItem(STORED) ?? UTC) ?? UTC;
  } catch {
    return UTC; // the browser allows no storage
  }
}

export function chooseZone(zone: string): void {
  try {
    localStorage.setItem(STORED, zone);
  } catch {
    // the browser allows no storage, or has no room: the address holds the choice as well
  }
}

const formats = new Map<string, Intl.DateTimeFormat>();

function partsOf(milliseconds: number, zone: string): Record<string, string> {
  let format = formats.get(zone);
  if (!format) {
    format = new Intl.DateTimeFormat("en", {
      timeZone: zone,
      hourCycle: "h23",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
      timeZoneName: "longOffset",
    });
    formats.set(zone, format);
  }
  return Object.fromEntries(
    format.formatToParts(milliseconds).map(({ type, value }) => [type, value]),
  );
}

/** `2026-11-23 02:27`, the clocks' date and time in that zone. */
export function clock(milliseconds: number, zone: string): string {
  const { year, month, day, hour, minute } = partsOf(milliseconds, zone);
  return `${year}-${month}-${day} ${hour}:${minute}`;
}

/** As `clock`, with the offset from UTC, as an hour that the clocks show twice needs one. */
export function clockWithOffset(milliseconds: number, zone: string): string {
  if (zone === UTC) return `${clock(milliseconds, zone)} UTC`;
  const offset = partsOf(milliseconds, zone)["timeZoneName"]?.replace("GMT", "") || "+00:00";
  return `${clock(milliseconds, zone)} ${offset}`;
}

/** Seconds since 1970 as if the zone's clocks showed UTC. */
export function shifted(seconds: number, zone: string): number {
  if (zone === UTC) return seconds;
  return Date.parse(`${clock(seconds * 1_000, zone).replace(" ", "T")}Z`) / 1_000;
}
