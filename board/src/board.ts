// The page of somebody who is signed in: what it listens to, and what it shows of that.
import { hearRuns, hearState, hearTotals, type Hear, type Heard, type Stop } from "./books";
import { panelOf, panels, type Panel } from "./panels";
import type { Run, State, Total } from "./records";
import type { Person, Session } from "./session";
import { noticesOf, provenOf, underWay, type Notice } from "./standing";
import { element, say } from "./view/dom";
import { FreshnessList } from "./view/freshness";
import { PanelView } from "./view/panel";
import { runsTable } from "./view/runs";

const LOADING = { kind: "loading" } as const;
const OFFLINE: Notice = {
  tone: "warn",
  text: "Offline: these are the last numbers that arrived. The page goes on by itself.",
};
const UNREADABLE: Notice = { tone: "warn", text: "Your account may not read the state document and the runs." };
/** A tab that nobody looks at costs as much as one that somebody does: it stops listening after this time. */
const HIDDEN_MS = 60_000;
const TICK_MS = 5_000;

export class Board {
  private totals: Heard<readonly Total[]> = LOADING;
  private state: Heard<State> = LOADING;
  private runs: Heard<readonly Run[]> = LOADING;
  private panel: Panel = panelOf(location.hash);
  private shown = this.panel.shown;
  private view: PanelView;
  private readonly freshness = new FreshnessList();
  private readonly links = new Map<Panel, HTMLAnchorElement>();
  private readonly place = element("div");
  private readonly runsPlace = element("div");
  private runsShown = "";
  private stops: Stop[] = [];
  private stopTotals: Stop = () => undefined;
  private hidden = 0;
  private paused = false;
  private readonly ended = new AbortController();

  constructor(
    private readonly session: Session,
    private readonly person: Person,
    page: HTMLElement,
    private readonly notify: (notices: readonly Notice[]) => void,
  ) {
    this.view = this.newView();
    page.replaceChildren(...this.layout());
    const until = { signal: this.ended.signal };
    addEventListener("hashchange", () => this.open(panelOf(location.hash)), until);
    addEventListener("online", () => this.render(), until);
    addEventListener("offline", () => this.render(), until);
    document.addEventListener("visibilitychange", () => this.looked(), until);
    const tick = setInterval(() => this.render(), TICK_MS);
    this.ended.signal.addEventListener("abort", () => clearInterval(tick));
    this.listen();
    this.open(this.panel);
  }

  /** Stop listening, for good. */
  end(): void {
    this.ended.abort();
    clearTimeout(this.hidden);
    this.pause();
  }

  // -- listening

  private listen(): void {
    if (!this.person.operator) return;
    const { database } = this.session;
    this.stops = [
      hearState(database, this.kept((heard) => (this.state = heard))),
      hearRuns(database, this.kept((heard) => (this.runs = heard))),
    ];
  }

  private listenTotals(): void {
    this.stopTotals();
    this.stopTotals = hearTotals(this.session.database, this.panel, this.shown, this.kept((heard) => (this.totals = heard)));
  }

  /** Keep what was heard and show it. What was known stays on the page while a listener opens again. */
  private kept<T>(keep: Hear<T>): Hear<T> {
    return (heard) => {
      if (heard.kind !== "loading") keep(heard);
      this.render();
    };
  }

  private pause(): void {
    this.paused = true;
    for (const stop of [...this.stops, this.stopTotals]) stop();
    this.stops = [];
    this.stopTotals = () => undefined;
  }

  private looked(): void {
    clearTimeout(this.hidden);
    if (document.hidden) this.hidden = window.setTimeout(() => this.pause(), HIDDEN_MS);
    else if (this.paused) {
      this.paused = false;
      this.listen();
      this.listenTotals();
    }
  }

  // -- what is shown

  private open(panel: Panel): void {
    this.panel = panel;
    this.shown = panel.shown;
    this.totals = LOADING;
    this.view = this.newView();
    this.place.replaceChildren(this.view.element);
    for (const [each, link] of this.links) {
      if (each === panel) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    this.listenTotals();
  }

  private newView(): PanelView {
    return new PanelView(this.panel, {
      more: () => {
        this.shown += this.panel.shown;
        this.listenTotals();
      },
      again: () => this.listenTotals(),
    });
  }

  private layout(): HTMLElement[] {
    for (const panel of panels) this.links.set(panel, element("a", { href: `#${panel.collection}` }, panel.title));
    const nav = element("nav", { "aria-label": "Totals" }, ...this.links.values());
    if (!this.person.operator) return [nav, this.place];
    const runs = element(
      "section",
      { "aria-labelledby": "runs" },
      element("h2", { id: "runs" }, "Last recomputes"),
      this.runsPlace,
    );
    return [this.freshness.element, nav, this.place, runs];
  }

  private render(): void {
    const now = new Date();
    const [state, runs] = [valueOf(this.state), valueOf(this.runs) ?? []];
    const proven = provenOf(state, runs);
    this.view.show(this.totals, this.shown, { known: this.person.operator && state !== null, proven });
    const notices: Notice[] = this.live() ? [] : [OFFLINE];
    if (this.person.operator) {
      const held = underWay(state, now);
      this.freshness.show({ proven, pending: this.view.pending(this.totals, proven), run: held, now });
      this.showRuns(runs, held);
      if (this.state.kind === "refused" || this.runs.kind === "refused") notices.push(UNREADABLE);
      else if (state && this.runs.kind === "heard") notices.push(...noticesOf(state, runs, now));
    }
    this.notify(notices);
  }

  private live(): boolean {
    const heard = [this.totals, this.state, this.runs].filter((each) => each.kind === "heard");
    return navigator.onLine && heard.every((each) => each.live);
  }

  /** Anew only if something changed: a reader may have opened the details. */
  private showRuns(runs: readonly Run[], held: string | null): void {
    const shown = JSON.stringify([this.runs.kind, runs, held]);
    if (shown === this.runsShown) return;
    this.runsShown = shown;
    if (this.runs.kind === "loading") say(this.runsPlace, "Loading …");
    else this.runsPlace.replaceChildren(runsTable(runs, held));
  }
}

function valueOf<T>(heard: Heard<T>): T | null {
  return heard.kind === "heard" ? heard.value : null;
}
