// One aggregation on the page: its plot, its rows, and what is said where there are none.
import type { Heard } from "../books";
import type { Panel } from "../panels";
import { pendingOf, type Total } from "../records";
import { seriesOf } from "../series";
import { element, say } from "./dom";
import { Plot } from "./plot";
import { TotalsTable, type Proof } from "./totals";

const LOADING = "Loading …";
const EMPTY = "No entry has been counted here yet. The first one appears by itself.";
const FORBIDDEN = "Your account may not read these totals. The project's security rules decide who may.";

export class PanelView {
  readonly element: HTMLElement;
  private readonly hint = element("p", { class: "hint" }, LOADING);
  private readonly more: HTMLButtonElement;
  private readonly again: HTMLButtonElement;
  private readonly table: TotalsTable;
  private readonly plot: Plot | null;

  constructor(
    private readonly panel: Panel,
    asked: { readonly more: () => void; readonly again: () => void },
  ) {
    this.table = new TotalsTable(panel);
    this.plot = panel.plot ? new Plot(panel.title) : null;
    this.more = button(`Show ${panel.shown} more`, asked.more);
    this.again = button("Try again", asked.again);
    this.element = element(
      "section",
      { "aria-labelledby": "panel", "data-collection": panel.collection },
      element("h2", { id: "panel" }, panel.title),
      this.hint,
      this.again,
      ...(this.plot ? [this.plot.element] : []),
      this.table.element,
      this.more,
    );
  }

  show(heard: Heard<readonly Total[]>, shown: number, proof: Proof): void {
    const totals = heard.kind === "heard" ? this.inOrder(heard.value) : [];
    say(this.hint, hintOf(heard));
    this.hint.hidden = totals.length > 0;
    this.again.hidden = heard.kind !== "refused";
    this.table.element.hidden = totals.length === 0;
    this.more.hidden = totals.length < shown || this.panel.plot === "hour";
    this.table.show(totals, this.panel.column, proof);
    if (this.panel.plot) this.plot?.show(totals.length ? seriesOf(totals, this.panel.plot, shown) : []);
  }

  /** What the totals shown hold that is not proven yet. */
  pending(heard: Heard<readonly Total[]>, proven: Date | null): number {
    const totals = heard.kind === "heard" ? heard.value : [];
    return totals.reduce((sum, total) => sum + pendingOf(total.recent, this.panel.column, proven), 0);
  }

  /** The listener has the last keys first; the hours of a day read better from its beginning. */
  private inOrder(totals: readonly Total[]): readonly Total[] {
    return this.panel.plot === "hour" ? [...totals].reverse() : totals;
  }
}

function hintOf(heard: Heard<readonly Total[]>): string {
  if (heard.kind === "loading") return LOADING;
  if (heard.kind === "heard") return EMPTY;
  return heard.code === "permission-denied" ? FORBIDDEN : `Firestore refuses the totals (${heard.code}): ${heard.message}`;
}

function button(text: string, pressed: () => void): HTMLButtonElement {
  const made = element("button", { type: "button" }, text);
  made.addEventListener("click", pressed);
  return made;
}
