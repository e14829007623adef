// A series as bars in one small drawing. Its numbers stand in the table below it, for who cannot see it.
import type { Point } from "../series";
import { number } from "../text";
import { drawing, element, say } from "./dom";

const HEIGHT = 100;

export class Plot {
  readonly element: HTMLElement;
  private readonly canvas = drawing("svg", { preserveAspectRatio: "none", role: "img" });
  private readonly greatest = element("span", { class: "greatest" });
  private readonly from = element("span");
  private readonly to = element("span");

  constructor(private readonly title: string) {
    const axis = element("div", { class: "axis", "aria-hidden": "true" }, this.from, this.to);
    this.greatest.setAttribute("aria-hidden", "true");
    this.element = element("figure", { class: "plot" }, this.greatest, this.canvas, axis);
  }

  show(points: readonly Point[]): void {
    const [first, last] = [points[0], points.at(-1)];
    this.element.hidden = !first;
    if (!first || !last) return;
    const top = points.reduce((best, each) => (each.value > best.value ? each : best));
    const scale = HEIGHT / Math.max(1, top.value);
    this.canvas.setAttribute("viewBox", `0 0 ${points.length} ${HEIGHT}`);
    this.canvas.setAttribute(
      "aria-label",
      `${this.title} from ${first.key} to ${last.key}; the greatest is ${number(top.value)} at ${top.key}`,
    );
    this.canvas.replaceChildren(
      ...points.map(({ value }, at) => {
        const height = Math.max(0, value) * scale;
        return drawing("rect", { x: at + 0.1, width: 0.8, y: HEIGHT - height, height });
      }),
    );
    say(this.greatest, number(top.value));
    say(this.from, first.key);
    say(this.to, last.key);
  }
}
