// The totals of one aggregation as rows that stay: a change moves a number and a bar, never the whole table.
import type { Panel } from "../panels";
import { pendingOf, type Total } from "../records";
import { number, shownKey, signed } from "../text";
import { element, say } from "./dom";

/** What the rows are told beside the totals. */
export interface Proof {
  /** Whether the reader may know what is proven. */
  readonly known: boolean;
  readonly proven: Date | null;
}

interface Row {
  readonly line: HTMLTableRowElement;
  readonly value: HTMLElement;
  readonly pending: HTMLElement;
  readonly bar: HTMLElement;
  readonly proven: HTMLElement;
  readonly open: HTMLElement;
}

export class TotalsTable {
  readonly element: HTMLElement;
  private readonly body = element("tbody");
  private readonly pendingHead = element("th", { scope: "col", class: "figure" }, "Not proven yet");
  private readonly rows = new Map<string, Row>();

  constructor(panel: Panel) {
    const head = element(
      "tr",
      {},
      element("th", { scope: "col" }, "Key"),
      element("th", { scope: "col", class: "figure" }, panel.column),
      this.pendingHead,
    );
    const caption = element("caption", { class: "unseen" }, `${panel.title}: ${panel.column} by key, live`);
    this.element = element("table", { class: "totals" }, caption, element("thead", {}, head), this.body);
  }

  show(totals: readonly Total[], column: string, proof: Proof): void {
    const greatest = Math.max(1, ...totals.map((total) => total.value));
    this.pendingHead.hidden = !proof.known;
    const lines = totals.map((total) => this.update(total, greatest, column, proof));
    const shown = new Set(totals.map((total) => total.id));
    for (const id of this.rows.keys()) if (!shown.has(id)) this.rows.delete(id);
    if (lines.some((line, at) => this.body.children[at] !== line) || lines.length !== this.body.children.length)
      this.body.replaceChildren(...lines);
  }

  private update(total: Total, greatest: number, column: string, proof: Proof): HTMLTableRowElement {
    const known = this.rows.get(total.id);
    const row = known ?? this.add(total);
    const pending = proof.known ? pendingOf(total.recent, column, proof.proven) : 0;
    const value = number(total.value);
    if (known && row.value.textContent !== value) flash(row.line);
    say(row.value, value);
    say(row.pending, pending ? signed(pending) : "");
    row.pending.hidden = !proof.known;
    const open = Math.min(Math.max(0, pending), Math.max(0, total.value));
    row.proven.style.width = share(total.value - open, greatest);
    row.open.style.width = share(open, greatest);
    return row.line;
  }

  private add(total: Total): Row {
    const value = element("td", { class: "figure value" });
    const pending = element("td", { class: "figure pending" });
    const proven = element("span", { class: "proven" });
    const open = element("span", { class: "open" });
    const bar = element("span", { class: "bar", "aria-hidden": "true" }, proven, open);
    const key = element("bdi", { class: "key" }, shownKey(total.key));
    const line = element("tr", { "data-id": total.id }, element("th", { scope: "row" }, key, bar), value, pending);
    const row = { line, value, pending, bar, proven, open };
    this.rows.set(total.id, row);
    return row;
  }
}

function share(part: number, whole: number): string {
  return `${(100 * Math.max(0, part)) / whole}%`;
}

/** Show that a total has moved; style.css keeps it still for who asked for less motion. */
function flash(line: HTMLElement): void {
  line.classList.remove("moved");
  void line.offsetWidth; // the animation begins anew
  line.classList.add("moved");
}
