// How far the totals are proven, for operators.
import { ago, moment, number } from "../text";
import { element, say } from "./dom";

export interface Freshness {
  readonly proven: Date | null;
  /** What the totals on the page hold that no run has proven yet. */
  readonly pending: number;
  readonly run: string | null;
  readonly now: Date;
}

export class FreshnessList {
  readonly element: HTMLElement;
  private readonly proven = element("dd", { id: "proven" });
  private readonly pending = element("dd", { id: "pending" });
  private readonly run = element("dd", { id: "run" });

  constructor() {
    const pair = (term: string, value: HTMLElement) => element("div", {}, element("dt", {}, term), value);
    this.element = element(
      "dl",
      { class: "freshness" },
      pair("Proven up to", this.proven),
      pair("Not proven yet, of the totals below", this.pending),
      pair("Recompute", this.run),
    );
  }

  show({ proven, pending, run, now }: Freshness): void {
    say(this.proven, proven ? `${moment(proven)} (${ago(proven, now)})` : "nothing yet");
    say(this.pending, number(pending));
    say(this.run, run ? `under way: ${run}` : "none under way");
  }
}
