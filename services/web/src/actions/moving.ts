//! Taking one's rooms along to another device, and being handed them.

import { type Bytes } from "../core/bytes.ts";
import { fingerprint } from "../core/crypto/device.ts";
import { type InvitingRoom } from "../core/make-invite.ts";
import { memberName } from "../core/names.ts";
import { realClock } from "../core/patience.ts";
import { type Session } from "../core/session.ts";
import { askToPersist } from "../core/store.ts";
import { takeMoves } from "../opened-move.ts";
import { type PageSession } from "../page-session.ts";
import type { Actions, MoveView, ProblemCode } from "../view.ts";

type Moving = Pick<Actions, "startMove" | "confirmMove" | "acceptMove" | "dismissMove">;

const NO_MOVE = { code: null, left: [], link: "" } as const;

/** Takes a move link out of the address at once: call it before anything is requested. */
export function moving(page: PageSession): Moving {
  const { view } = page;
  /** Ends what is going on. */
  let call = new AbortController();
  let confirm: (() => void) | undefined;
  let secret: Bytes | undefined;

  function begin(): AbortSignal {
    call.abort();
    call = new AbortController();
    [confirm, secret] = [undefined, undefined];
    return call.signal;
  }

  /** Runs one side, whose code is loaded when it is first needed. */
  async function run(signal: AbortSignal, side: MoveView["side"], go: (session: Session) => Promise<void>) {
    const fail = (code: ProblemCode) => {
      if (!signal.aborted) view.move = { ...NO_MOVE, side, state: "failed", problem: { code } };
    };
    const { session } = page;
    if (session === undefined) return fail("unavailable");
    // What is left to fail is loading the code: all else is shown by the sides themselves.
    await go(session).catch(() => fail("offline"));
  }

  takeMoves((opened) => {
    begin();
    secret = opened;
    const failed = { state: "failed", problem: { code: "move_not_found" } } as const;
    view.move = { side: "new", code: null, ...(opened === undefined ? failed : { state: "opened", problem: null }) };
  });

  return {
    startMove() {
      const signal = begin();
      const confirmed = new Promise<void>((resolve) => (confirm = resolve));
      void run(signal, "old", async (session) => {
        const { handOver } = await import("../core/moving/handing-over.ts");
        const { device, local } = session.store.identity;
        const world = {
          api: session.api,
          local,
          origin: location.origin,
          name: () => nameOf(view.myName, device.id),
          rooms: () => roomsOf(session),
          clock: realClock,
          show: (move: MoveView) => (view.move = move),
        };
        await handOver(world, confirmed, signal);
      });
    },

    confirmMove: () => confirm?.(),

    acceptMove() {
      const opened = secret;
      if (opened === undefined) return;
      const signal = begin();
      void run(signal, "new", async (session) => {
        const { takeOver } = await import("../core/moving/taking-over.ts");
        const world = {
          enter: session.enterWorld,
          keepName: (name: string) => page.keepMyName(session, name),
          entered: (record: Parameters<Session["entered"]>[0]) => session.entered(record),
          clock: realClock,
          show: (move: MoveView) => (view.move = move),
        };
        void askToPersist();
        await takeOver(world, opened, signal);
      });
    },

    dismissMove() {
      begin();
      view.move = null;
    },
  };
}

/** The name that was used last, or what stands for a device without one. */
function nameOf(myName: string, device: string): string {
  const checked = memberName(myName);
  return checked.ok ? checked.name : fingerprint(device);
}

async function roomsOf(session: Session): Promise<readonly InvitingRoom[]> {
  const living = [...session.rooms.values()].filter(({ record }) => record.ended === undefined);
  await Promise.all(living.map((room) => room.chain.ready()));
  return living;
}
