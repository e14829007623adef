// What the page listens to. Every document that a listener shows costs a read when it opens, and one more for each
// change: so the page listens to the totals of one aggregation, to the state document and to the last runs.
import {
  collection,
  doc,
  limit,
  onSnapshot,
  orderBy,
  query,
  type Firestore,
  type FirestoreError,
  type Query,
  type QuerySnapshot,
} from "@firebase/firestore";
import type { Panel } from "./panels";
import { runOf, stateOf, totalOf, type Fields, type Run, type State, type Total } from "./records";

const STATE = "aggregates/last_processed";
const RUNS = "aggregates_runs";
const SHOWN_RUNS = 5;

/** What a listener has heard last. `live` is false while Firestore cannot be reached. */
export type Heard<T> =
  | { readonly kind: "loading" }
  | { readonly kind: "heard"; readonly value: T; readonly live: boolean }
  | { readonly kind: "refused"; readonly code: string; readonly message: string };

export type Hear<T> = (heard: Heard<T>) => void;
export type Stop = () => void;

// With changes of the metadata, a listener that loses Firestore says so: its snapshot comes from the cache.
const OPTIONS = { includeMetadataChanges: true } as const;

export function hearTotals(database: Firestore, panel: Panel, shown: number, hear: Hear<readonly Total[]>): Stop {
  const order = panel.order === "key" ? "key" : panel.column;
  const wanted = query(collection(database, panel.collection), orderBy(order, "desc"), limit(shown));
  return hearing(wanted, (id, fields) => totalOf(id, fields, panel.column), hear);
}

export function hearRuns(database: Firestore, hear: Hear<readonly Run[]>): Stop {
  return hearing(query(collection(database, RUNS), orderBy("queued_at", "desc"), limit(SHOWN_RUNS)), runOf, hear);
}

export function hearState(database: Firestore, hear: Hear<State>): Stop {
  hear({ kind: "loading" });
  return onSnapshot(
    doc(database, STATE),
    OPTIONS,
    (found) => hear({ kind: "heard", value: stateOf(found.data() ?? {}), live: !found.metadata.fromCache }),
    (error) => hear(refused(error)),
  );
}

function hearing<T>(
  wanted: Query,
  read: (id: string, fields: Fields) => T,
  hear: Hear<readonly T[]>,
): Stop {
  hear({ kind: "loading" });
  const next = (found: QuerySnapshot) => {
    const live = !found.metadata.fromCache;
    if (!live && found.empty) return; // nothing is known yet
    hear({ kind: "heard", value: found.docs.map((each) => read(each.id, each.data())), live });
  };
  return onSnapshot(wanted, OPTIONS, next, (error) => hear(refused(error)));
}

function refused({ code, message }: FirestoreError): Heard<never> {
  return { kind: "refused", code, message };
}
