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

/** Every date from the first to the last; of a wider range, its end. */
function dates(keys: readonly string[], longest: number): string[] {
  const found = keys.filter((key) => DATE.test(key)).sort();
  const [first, last] = [found[0], found.at(-1)];
  if (!first || !last) return [];
  const end = Date.parse(last);
  const days = Math.min(longest, Math.round((end - Date.parse(first)) / DAY) + 1);
  return Array.from({ length: days }, (_, at) => new Date(end - (days - 1 - at) * DAY).toISOString().slice(0, 10));
}
