// The last recomputes with their drift, for operators.
import type { Run } from "../records";
import { outcomeOf } from "../standing";
import { moment, number } from "../text";
import { element } from "./dom";

const HEADS = ["Started", "State", "Watermark", "Drift", "Entries", "Seconds"] as const;

export function runsTable(runs: readonly Run[], held: string | null): HTMLElement {
  if (!runs.length) return element("p", { class: "hint" }, "No recompute has run yet: run libra recompute.");
  const heads = HEADS.map((name) => element("th", { scope: "col" }, name));
  const caption = element("caption", { class: "unseen" }, "The last recomputes, the newest first");
  const lines = runs.map((run) => runLine(run, outcomeOf(run, held)));
  return element("table", { class: "runs" }, caption, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...lines));
}

function runLine(run: Run, outcome: string): HTMLElement {
  const started = element("th", { scope: "row", "data-id": run.id }, moment(run.started));
  const state = element("td", { class: `state ${outcome}` }, outcome);
  if (run.error) state.append(element("span", { class: "error" }, run.error));
  const watermark = element("td", {}, run.watermark ? moment(run.watermark) : "");
  const seconds = element("td", {}, run.seconds === null ? "" : run.seconds.toFixed(1));
  const cells = [started, state, watermark, drift(run), element("td", {}, figure(run.entries)), seconds];
  cells.forEach((cell, at) => cell.setAttribute("data-head", HEADS[at] ?? "")); // a phone shows it beside the cell
  return element("tr", {}, ...cells);
}

function drift(run: Run): HTMLElement {
  const cell = element("td", { class: run.drift ? "drift wrong" : "drift" }, figure(run.drift));
  if (run.filled) cell.append(element("span", { class: "error" }, `${number(run.filled)} filled in new aggregations`));
  if (!run.corrections.length) return cell;
  const items = run.corrections.map((each) =>
    element("li", {}, element("bdi", {}, each.document), ` ${each.measure}: ${number(each.stored)} → ${number(each.exact)}`),
  );
  const hidden = (run.corrected ?? 0) - items.length;
  if (hidden > 0) items.push(element("li", {}, `and ${number(hidden)} more`));
  cell.append(element("details", {}, element("summary", {}, "what was corrected"), element("ul", {}, ...items)));
  return cell;
}

function figure(value: number | null): string {
  return value === null ? "" : number(value);
}
