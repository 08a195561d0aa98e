//! Who is and was a member of a room, as far as the server and the log say. Roles are the chain's business.

import { ApiError, type Api } from "./api.ts";
import { fromB64 } from "./base64url.ts";
import { type Directory } from "./directory.ts";
import { type RawEntry } from "./frames.ts";
import { type LogEntry } from "./log-entry.ts";
import { type EntryOpener } from "./open-entry.ts";
import { type Entry, type Member, type MemberState, type Role } from "../protocol.gen.ts";

export interface MembersWorld {
  readonly api: Pick<Api, "members">;
  readonly directory: Directory;
  readonly opener: EntryOpener;
  /** Whom admins have banned. */
  readonly banned: () => readonly string[];
  readonly changed: () => void;
}

/** What the server says of members, and what they say of themselves. */
export interface MemberList {
  readonly members: readonly Member[];
  readonly profiles: readonly LogEntry[];
}

export class RoomMembers {
  readonly #room: string;
  readonly #world: MembersWorld;
  #states = new Map<string, MemberState>();
  /** As the server's list has them; without those who have got another role since. */
  #roles = new Map<string, Role>();

  constructor(room: string, world: MembersWorld) {
    this.#room = room;
    this.#world = world;
  }

  /** Devices that are members now. Who is banned is none, whatever the server says. */
  get present(): readonly string[] {
    const banned = new Set(this.#world.banned());
    return this.listed.filter((device) => !banned.has(device));
  }

  /** Devices that are members now by the server's list and what came since. */
  get listed(): readonly string[] {
    return [...this.#states].flatMap(([device, state]) => (state === "member" ? [device] : []));
  }

  /** The role that the server goes by, which is not what counts; `undefined` where that is not known. */
  serverRole(device: string): Role | undefined {
    return this.#roles.get(device);
  }

  /** Fetches who is and was a member. Failing is no harm: what is missing is asked for when it is needed. */
  async load(): Promise<void> {
    try {
      await this.fetch();
      this.#world.changed();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }

  /**
   * Fetches everybody, and opens the profiles that come with them. Keys that are not their device's are left out.
   * Rejects with `ApiError`.
   */
  async fetch(): Promise<MemberList> {
    const members: Member[] = [];
    for (const member of await this.#world.api.members(this.#room)) {
      const keys = { signKey: fromB64(member.sign_key, 32), agreeKey: fromB64(member.agree_key, 32) };
      if (!(await this.#world.directory.learnKeys(member.device, keys))) continue;
      members.push(member);
      this.#states.set(member.device, member.state);
      this.#roles.set(member.device, member.role);
    }
    const raws = members.flatMap(({ profile }) => (profile === undefined ? [] : [rawOf(profile)]));
    return { members, profiles: await this.#world.opener.openAll(raws) };
  }

  /** Takes an entry that came live. */
  live({ content, header }: LogEntry): void {
    if (header === undefined) return;
    if (content.kind === "profile") this.#states.set(header.device, "member");
    if (content.kind === "leave" && this.#states.has(header.device)) this.#states.set(header.device, "left");
    if (content.kind === "step" && (content.step.type === "role" || content.step.type === "transfer")) {
      for (const device of [content.step.device, header.device]) this.#roles.delete(device);
    }
    if (content.kind !== "epoch_record" || content.record.cause.type !== "remove") return;
    const { devices, ban } = content.record.cause;
    for (const device of devices) {
      this.#states.set(device, ban ? "banned" : "removed");
      this.#roles.delete(device);
    }
  }
}

function rawOf(entry: Entry): RawEntry {
  return { seq: entry.seq, atMs: entry.at_ms, envelope: fromB64(entry.envelope) };
}
