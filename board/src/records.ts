// What documents hold, as the page uses it. Pure: no Firebase, no clock. Anything may stand in a document, so
// every field is looked at before it is believed.

export type Fields = Readonly<Record<string, unknown>>;

/** One total. */
export interface Total {
  readonly id: string;
  readonly key: string;
  readonly value: number;
  /** What was added under each label of `recent`. */
  readonly recent: Fields;
  readonly updatedAt: Date | null;
}

/** The state document. */
export interface State {
  /** The stored watermark: later than `proven` while a run is under way, and after one that failed. */
  readonly sealed: Date | null;
  /** The watermark of the last completed run. */
  readonly proven: Date | null;
  readonly lease: { readonly runId: string; readonly expiresAt: Date } | null;
}

/** One number that a run found wrong. */
export interface Corrected {
  readonly document: string;
  readonly measure: string;
  readonly stored: number;
  readonly exact: number;
}

/** One recompute. */
export interface Run {
  readonly id: string;
  readonly state: string;
  readonly started: Date | null;
  readonly watermark: Date | null;
  readonly entries: number | null;
  readonly drift: number | null;
  readonly corrected: number | null;
  readonly filled: number;
  readonly seconds: number | null;
  readonly error: string | null;
  readonly corrections: readonly Corrected[];
}

export function totalOf(id: string, fields: Fields, column: string): Total {
  return {
    id,
    key: keyOf(id, fields["key"]),
    value: number(fields[column]) ?? 0,
    recent: map(fields["recent"]),
    updatedAt: time(fields["updated_at"]),
  };
}

/** The key as a reader knows it. Integers come from the id: 64 bits do not fit a JavaScript number. */
export function keyOf(id: string, key: unknown): string {
  if (typeof key === "string") return key;
  const parts = map(key);
  if (id.startsWith("%sha256-")) return Object.values(parts).join(" · ") || id;
  const texts = Object.keys(parts).length ? id.split("|") : [id];
  return texts.map(unescaped).join(" · ");
}

const ESCAPED: Readonly<Record<string, string>> = { "%25": "%", "%2F": "/", "%2E": ".", "%5F": "_", "%7C": "|" };

function unescaped(text: string): string {
  return text === "%empty" ? "" : text.replace(/%../g, (found) => ESCAPED[found] ?? found);
}

const LABEL = /^t(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z_[1-9]\d{0,5}(?:_([A-Za-z_]\w*))?$/;

/** When the bucket of a label ends, and which column it is filed for; null if it is no label. */
export function bucketOf(label: string): { end: number; column: string } | null {
  const [, year, month, day, hour, minute, second, column] = LABEL.exec(label) ?? [];
  const end = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  const real = new Date(end || 0).toISOString().slice(8, 19) === `${day}T${hour}:${minute}:${second}`;
  return year && Number(year) && real ? { end, column: column ?? "count" } : null;
}

/** What a total's open buckets hold of a column: added since the watermark, and not proven yet. */
export function pendingOf(recent: Fields, column: string, proven: Date | null): number {
  let pending = 0;
  for (const [label, amount] of Object.entries(recent)) {
    const bucket = bucketOf(label);
    const open = bucket && bucket.column === column && (!proven || bucket.end > proven.getTime());
    if (open && Number.isInteger(amount)) pending += amount as number;
  }
  return pending;
}

export function stateOf(fields: Fields): State {
  const lease = map(fields["lease"]);
  const runId = lease["run_id"];
  const expiresAt = time(lease["expires_at"]);
  return {
    sealed: time(fields["timestamp"]),
    proven: time(fields["proven"]),
    lease: typeof runId === "string" && expiresAt ? { runId, expiresAt } : null,
  };
}

export function runOf(id: string, fields: Fields): Run {
  const corrections = Array.isArray(fields["corrections"]) ? fields["corrections"] : [];
  return {
    id,
    state: text(fields["state"]) ?? "unknown",
    started: time(fields["queued_at"]),
    watermark: time(fields["watermark"]),
    entries: number(fields["entries"]),
    drift: number(fields["drift"]),
    corrected: number(fields["corrected"]),
    filled: number(fields["filled"]) ?? 0,
    seconds: number(fields["seconds"]),
    error: text(fields["error"]),
    corrections: corrections.map(map).map((each) => ({
      document: text(each["document"]) ?? "?",
      measure: text(each["measure"]) ?? "?",
      stored: number(each["stored"]) ?? 0,
      exact: number(each["exact"]) ?? 0,
    })),
  };
}

function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function number(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}

/** A Timestamp of the SDK's, which is known by what it can do. */
function time(value: unknown): Date | null {
  const stamp = value as { toDate?: unknown } | null | undefined;
  return stamp && typeof stamp.toDate === "function" ? (stamp.toDate() as Date) : null;
}

function map(value: unknown): Fields {
  const plain = typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
  return plain ? (value as Fields) : {};
}
