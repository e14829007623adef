// Who is signed in, to which project. The configuration is the project's own: Hosting serves it to every site.
import { initializeApp } from "@firebase/app";
import {
  browserLocalPersistence,
  browserPopupRedirectResolver,
  connectAuthEmulator,
  indexedDBLocalPersistence,
  initializeAuth,
  OAuthProvider,
  onIdTokenChanged,
  SAMLAuthProvider,
  signInWithEmailAndPassword,
  signInWithPopup,
  signOut,
  type Auth,
} from "@firebase/auth";
import { connectFirestoreEmulator, initializeFirestore, type Firestore } from "@firebase/firestore";

declare const DATABASE: string; // the database's id, put in by build.mjs

const LOOPBACK = ["127.0.0.1", "localhost"];

/** Somebody who is signed in. */
export interface Person {
  readonly name: string;
  /** Whether firestore.rules lets them read the state document and the runs. */
  readonly operator: boolean;
}

export interface Session {
  readonly database: Firestore;
  /** Calls with who is signed in, now and whenever that changes; null for nobody. */
  watch(changed: (person: Person | null) => void): void;
  signIn(email: string, password: string): Promise<void>;
  /** By a popup of the provider's. */
  signInBy(provider: string): Promise<void>;
  signOut(): Promise<void>;
}

/** Connect to the project that serves the page; on this machine, to the emulators beside it. */
export async function connect(): Promise<Session> {
  const answer = await fetch("/__/firebase/init.json");
  if (!answer.ok) throw new Error(`/__/firebase/init.json answers ${answer.status}: is a web app registered in the project?`);
  const app = initializeApp(await answer.json());
  const auth = initializeAuth(app, { persistence: [indexedDBLocalPersistence, browserLocalPersistence] });
  const database = initializeFirestore(app, {}, DATABASE);
  if (LOOPBACK.includes(location.hostname)) await useEmulators(auth, database);
  return {
    database,
    watch: (changed) =>
      void onIdTokenChanged(auth, async (user) => {
        const token = await user?.getIdTokenResult();
        if (user !== auth.currentUser) return; // somebody else by now
        changed(user && { name: user.email ?? user.displayName ?? user.uid, operator: token?.claims["libra"] === "operator" });
      }),
    signIn: async (email, password) => void (await signInWithEmailAndPassword(auth, email, password)),
    signInBy: async (id) => {
      const provider = id.startsWith("saml.") ? new SAMLAuthProvider(id) : new OAuthProvider(id);
      await signInWithPopup(auth, provider, browserPopupRedirectResolver);
    },
    signOut: () => signOut(auth),
  };
}

interface Listening {
  readonly host: string;
  readonly port: number;
}

/** Hosting's emulator says where the others listen, in a script for the SDK of old; the page wants its data alone. */
async function useEmulators(auth: Auth, database: Firestore): Promise<void> {
  const script = await (await fetch("/__/firebase/init.js?useEmulator=true")).text();
  const found = /firebaseEmulators = (\{[^]*?\n\});/.exec(script)?.[1] ?? "{}";
  const emulators = JSON.parse(found) as Readonly<Record<"auth" | "firestore", Listening | undefined>>;
  if (emulators.auth) connectAuthEmulator(auth, `http://${emulators.auth.host}:${emulators.auth.port}`, { disableWarnings: true });
  if (emulators.firestore) connectFirestoreEmulator(database, emulators.firestore.host, emulators.firestore.port);
}
