// How the totals stand: what shared/status.py says on the command line, for the page. Pure: time is an argument.
import type { Run, State } from "./records";
import { ago, moment, number } from "./text";

/** What an operator is told first. */
export interface Notice {
  readonly tone: "info" | "warn" | "bad";
  readonly text: string;
}

/** The totals are to be proven within this time: a night and two hours. The alert for a late watermark has it too. */
const TOO_OLD = 26 * 3_600_000;

/** The watermark of the last completed run; where the state document does not note it, from the runs' records. */
export function provenOf(state: State | null, runs: readonly Run[]): Date | null {
  if (!state?.sealed) return null;
  const proven = state.proven ?? runs.find((run) => run.state === "completed" && run.watermark)?.watermark;
  if (!proven) return null;
  return proven < state.sealed ? proven : state.sealed;
}

/** The run that holds the lease now. */
export function underWay(state: State | null, now: Date): string | null {
  return state?.lease && state.lease.expiresAt > now ? state.lease.runId : null;
}

/** What became of a run: one that has not ended and holds no lease has died. */
export function outcomeOf(run: Run, held: string | null): string {
  const died = (run.state === "queued" || run.state === "processing") && run.id !== held;
  return died ? "failed" : run.state;
}

export function noticesOf(state: State | null, runs: readonly Run[], now: Date): Notice[] {
  const held = underWay(state, now);
  const last = runs.find((run) => run.id !== held);
  const notices: Notice[] = [];
  if (held) notices.push({ tone: "info", text: "A recompute is under way." });
  if (last && outcomeOf(last, held) === "failed")
    notices.push({ tone: "bad", text: `The last recompute failed: ${last.error ?? "it died: its lease is over."}` });
  if (last?.drift)
    notices.push({
      tone: "warn",
      text: `Drift: the last recompute found ${number(last.corrected ?? 0)} wrong numbers, by ${number(last.drift)} in sum, and corrected them.`,
    });
  return [...notices, ...ageOf(provenOf(state, runs), held, now)];
}

function ageOf(proven: Date | null, held: string | null, now: Date): Notice[] {
  if (!proven) return held ? [] : [{ tone: "warn", text: "No recompute has completed yet: no total is proven." }];
  if (now.getTime() - proven.getTime() <= TOO_OLD) return [];
  const text = `The watermark is too old: the totals are proven up to ${moment(proven)}, ${ago(proven, now)}. A recompute is due every night.`;
  return [{ tone: "bad", text }];
}
