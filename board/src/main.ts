// The page: signed out, or the board of who is signed in.
import { Board } from "./board";
import { connect, type Person, type Session } from "./session";
import type { Notice } from "./standing";
import { byId, element } from "./view/dom";
import { signInForm } from "./view/signin";

const page = byId("page");
const account = byId("account");
const noticePlace = byId("notices");
let noticed = "";

/** Show the notices. They are read out to who cannot see them: so only when they change. */
function notify(notices: readonly Notice[]): void {
  const shown = JSON.stringify(notices);
  if (shown === noticed) return;
  noticed = shown;
  noticePlace.replaceChildren(...notices.map(({ tone, text }) => element("p", { class: `notice ${tone}` }, text)));
}

function accountOf(session: Session, person: Person): Node[] {
  const leave = element("button", { type: "button" }, "Sign out");
  leave.addEventListener("click", () => void session.signOut());
  return [element("span", { class: "who" }, `${person.name}${person.operator ? " (operator)" : ""}`), leave];
}

async function start(): Promise<void> {
  const session = await connect();
  let board: Board | null = null;
  session.watch((person) => {
    board?.end();
    notify([]);
    account.replaceChildren(...(person ? accountOf(session, person) : []));
    board = person && new Board(session, person, page, notify);
    if (!person) page.replaceChildren(signInForm(session));
  });
}

start().catch((error: unknown) => {
  page.replaceChildren();
  notify([{ tone: "bad", text: `The board cannot start: ${error instanceof Error ? error.message : String(error)}` }]);
});
