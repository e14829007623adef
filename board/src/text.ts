// Numbers, times and keys as a reader sees them, in the browser's own language and time zone. Pure.

const NUMBERS = new Intl.NumberFormat();
const MOMENTS = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const AGES = new Intl.RelativeTimeFormat(undefined, { numeric: "always" });

const UNITS: readonly (readonly [Intl.RelativeTimeFormatUnit, number])[] = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];

export function number(value: number): string {
  return NUMBERS.format(value);
}

/** A number with its sign: `+3`. */
export function signed(value: number): string {
  return value > 0 ? `+${number(value)}` : number(value);
}

export function moment(at: Date | null): string {
  return at ? MOMENTS.format(at) : "unknown";
}

/** How long ago, in the greatest unit of which there are two or more: `90 seconds ago`, `26 hours ago`. */
export function ago(at: Date, now: Date): string {
  const seconds = Math.max(0, Math.round((now.getTime() - at.getTime()) / 1_000));
  const [unit, length] = UNITS.find(([, each]) => seconds >= 2 * each) ?? ["second", 1];
  return AGES.format(-Math.floor(seconds / length), unit);
}

/** A key that can be seen: an empty one, and one of spaces alone, are named. */
export function shownKey(key: string): string {
  if (key === "") return "(empty)";
  return key.trim() === "" ? `(${key.length} spaces)` : key;
}
