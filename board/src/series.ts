// Totals along a time axis without holes: an hour or a date with no entry has no total, and is 0. Pure.
import type { Total } from "./records";

export interface Point {
  readonly key: string;
  readonly value: number;
}

const DAY = 86_400_000;
const DATE = /^\d{4}-\d{2}-\d{2}$/;

/** `longest`: the most points of a series of dates. One entry of a wrong clock must not press the others together. */
export function seriesOf(totals: readonly Total[], plot: "hour" | "date", longest: number): Point[] {
  const values = new Map(totals.map((total) => [total.key, total.value]));
  const keys = plot === "hour" ? hours() : dates([...values.keys()], longest);
  return keys.map((key) => ({ key, value: values.get(key) ?? 0 }));
}

function hours(): string[] {
  return Array.from({ length: 24 }, (_, hour) => String(hour));
}

/** Every date from the first to the last; of a wider range, what lies at its end. */
function dates(keys: readonly string[], longest: number): string[] {
  const found = keys.filter((key) => DATE.test(key)).map((key) => Date.parse(key));
  const last = Math.max(...found);
  const first = Math.min(...found.filter((date) => last - date < longest * DAY));
  const days = found.length ? Math.round((last - first) / DAY) + 1 : 0;
  return Array.from({ length: days }, (_, at) => new Date(first + at * DAY).toISOString().slice(0, 10));
}
