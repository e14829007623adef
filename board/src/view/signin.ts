// Signing in: by email and password, or by a provider that panels.json names.
import { providers } from "../panels";
import type { Session } from "../session";
import { element, say } from "./dom";

const REASONS: Readonly<Record<string, string>> = {
  "auth/invalid-credential": "The email address or the password is wrong.",
  "auth/user-not-found": "The email address or the password is wrong.",
  "auth/wrong-password": "The email address or the password is wrong.",
  "auth/invalid-email": "This is no email address.",
  "auth/user-disabled": "This account is disabled.",
  "auth/too-many-requests": "There were too many attempts. Try again later.",
  "auth/network-request-failed": "The sign-in service cannot be reached.",
  "auth/popup-blocked": "The browser blocked the sign-in window.",
  "auth/operation-not-allowed": "The project does not allow this way to sign in.",
};

export function signInForm(session: Session): HTMLElement {
  const failure = element("p", { role: "alert", class: "failure" });
  const attempt = async (signIn: Promise<void>) => {
    say(failure, "");
    await signIn.catch((error: { code?: string; message?: string }) =>
      say(failure, REASONS[error.code ?? ""] ?? `Signing in failed: ${error.message ?? error.code ?? "unknown"}`),
    );
  };
  const ways = providers.map(({ id, label }) =>
    id === "password" ? passwordForm(session, attempt) : providerButton(label ?? id, () => attempt(session.signInBy(id))),
  );
  return element(
    "section",
    { class: "signin", "aria-labelledby": "signin" },
    element("h2", { id: "signin" }, "Sign in"),
    element("p", { class: "hint" }, "The totals are shown to who is signed in."),
    ...ways,
    failure,
  );
}

function passwordForm(session: Session, attempt: (signIn: Promise<void>) => Promise<void>): HTMLElement {
  const email = element("input", { id: "email", type: "email", autocomplete: "username", required: "" });
  const password = element("input", { id: "password", type: "password", autocomplete: "current-password", required: "" });
  const form = element(
    "form",
    {},
    element("label", { for: "email" }, "Email"),
    email,
    element("label", { for: "password" }, "Password"),
    password,
    element("button", {}, "Sign in"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void attempt(session.signIn(email.value, password.value));
  });
  return form;
}

function providerButton(label: string, signIn: () => Promise<void>): HTMLElement {
  const button = element("button", { type: "button" }, `Sign in with ${label}`);
  button.addEventListener("click", () => void signIn());
  return button;
}
