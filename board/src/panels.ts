// What the board shows: one panel for each aggregation, declared in panels.json. docs/board.md says how to add one.
import declared from "../panels.json";

export interface Panel {
  /** The collection that the totals live in. */
  readonly collection: string;
  readonly title: string;
  /** The field of a total that is shown: `count`, or the column of another measure. */
  readonly column: string;
  /** The greatest values of the column first, or the keys in their order, the last ones kept. */
  readonly order: "column" | "key";
  /** How many totals the panel listens to, and so how many reads it costs to open it. */
  readonly shown: number;
  /** What the keys are, if they are to be drawn along a time axis without holes. */
  readonly plot?: "hour" | "date";
}

/** A way to sign in: `password`, or an id of Firebase's such as `google.com`, `oidc.NAME` or `saml.NAME`. */
export interface Provider {
  readonly id: string;
  readonly label?: string;
}

export const panels = declared.panels as readonly Panel[];
export const providers = declared.providers as readonly Provider[];

/** The panel of an address such as `#aggregates_actions`; the first one for any other. */
export function panelOf(hash: string): Panel {
  const named = panels.find((panel) => `#${panel.collection}` === hash) ?? panels[0];
  if (!named) throw new Error("panels.json declares no panel");
  return named;
}
