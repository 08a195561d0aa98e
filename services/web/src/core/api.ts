//! Every HTTP call of the protocol, with typed errors. The token is a cookie that no script sees; when it has ended,
//! it is renewed by a signature, once for all callers, and the call is made again.

import { b64, fromB64 } from "./base64url.ts";
import { type Bytes } from "./bytes.ts";
import { type Device } from "./crypto/device.ts";
import { NO_ROOM, signInSignature } from "./crypto/sign-in.ts";
import { splitLogPage, type RawEntry } from "./frames.ts";
import {
  ERROR_RETRY,
  type CreateInvite,
  type CreateRoom,
  type Entered,
  type ErrorBody,
  type ErrorCode,
  type Invite,
  type InvitesAnswer,
  type JoinRequest,
  type LogPageHead,
  type LookupAnswer,
  type Member,
  type MembersAnswer,
  type NonceAnswer,
  type Retry,
  type RoomsAnswer,
  type SignIn,
  type Signed,
} from "../protocol.gen.ts";

/** Longest wait for an answer. */
const ANSWER_LIMIT_MS = 20_000;

/** A call failed. `offline`: no answer at all, or one that is not the server's. */
export class ApiError extends Error {
  readonly code: ErrorCode | "offline";
  readonly retry: Retry;
  readonly retryAfterMs: number | undefined;
  readonly freeVariant: string | undefined;

  constructor(body: Omit<Partial<ErrorBody>, "code"> & { code: ErrorCode | "offline" }) {
    super(body.message ?? body.code);
    this.code = body.code;
    this.retry = body.retry ?? "later";
    this.retryAfterMs = body.retry_after_ms;
    this.freeVariant = body.free_variant;
  }
}

/** A page of a room's log. */
export interface LogPage extends LogPageHead {
  /** The range `from..=to`, ascending, without gaps. */
  readonly entries: readonly RawEntry[];
  /** Later entries about one of the range. */
  readonly about: readonly RawEntry[];
}

export class Api {
  readonly #device: Device;
  readonly #origin: string;
  readonly #fetch: typeof fetch;
  #renewing: Promise<void> | undefined;

  /** `origin` is the page's, without a trailing slash: calls go there and sign-ins are for it. */
  constructor(device: Device, origin: string, fetcher: typeof fetch = (...args) => fetch(...args)) {
    this.#device = device;
    this.#origin = origin;
    this.#fetch = fetcher;
  }

  lookup(name: string): Promise<LookupAnswer> {
    return this.#json("POST", "/api/lookup", { name });
  }

  async nonce(): Promise<string> {
    const { nonce } = await this.#json<NonceAnswer>("POST", "/api/nonce", {});
    return nonce;
  }

  /** The signed part of a request that enters `room` by `grant`. */
  async signIn(nonce: string, at: { room: Bytes; grant: Bytes }): Promise<SignIn> {
    const { signKey, agreeKey } = this.#device;
    return {
      sign_key: b64(signKey),
      agree_key: b64(agreeKey),
      nonce,
      origin: this.#origin,
      signature: b64(await signInSignature(this.#device, at, nonce, this.#origin)),
      bearer: false,
    };
  }

  createRoom(request: CreateRoom): Promise<Entered> {
    return this.#json("POST", "/api/rooms", request);
  }

  join(request: JoinRequest): Promise<Entered> {
    return this.#json("POST", "/api/join", request);
  }

  /** Gets a new token by a signature. Callers at one time share one renewal. */
  renew(): Promise<void> {
    this.#renewing ??= this.#renew().finally(() => (this.#renewing = undefined));
    return this.#renewing;
  }

  async #renew(): Promise<void> {
    const sign_in = await this.signIn(await this.nonce(), NO_ROOM);
    await this.#json<Signed>("POST", "/api/token", { sign_in });
  }

  rooms(): Promise<RoomsAnswer> {
    return this.#authorised(() => this.#json("GET", "/api/rooms"));
  }

  deleteRoom(room: string): Promise<void> {
    return this.#authorised(() => this.#json("DELETE", `/api/rooms/${room}`));
  }

  /** All members, those who left included, page by page. */
  async members(room: string): Promise<Member[]> {
    const members: Member[] = [];
    for (;;) {
      const last = members.at(-1);
      const after = last === undefined ? "" : `?after=${last.device}`;
      const page = await this.#authorised(() => this.#json<MembersAnswer>("GET", `/api/rooms/${room}/members${after}`));
      members.push(...page.members);
      if (!page.more || page.members.length === 0) return members;
    }
  }

  member(room: string, device: string): Promise<Member> {
    return this.#authorised(() => this.#json("GET", `/api/rooms/${room}/members/${device}`));
  }

  /** The newest entries before `before`, at most `limit`. */
  history(room: string, before: number, limit: number): Promise<LogPage> {
    const path = `/api/rooms/${room}/history?before=${before}&limit=${limit}`;
    return this.#authorised(async () => {
      const answer = await this.#answer("GET", path);
      try {
        return checkedPage(new Uint8Array(await answer.arrayBuffer()), before);
      } catch {
        throw new ApiError({ code: "offline" });
      }
    });
  }

  invites(room: string): Promise<InvitesAnswer> {
    return this.#authorised(() => this.#json("GET", `/api/rooms/${room}/invites`));
  }

  createInvite(room: string, invite: CreateInvite): Promise<Invite> {
    return this.#authorised(() => this.#json("POST", `/api/rooms/${room}/invites`, invite));
  }

  revokeInvite(room: string, grant: string): Promise<void> {
    return this.#authorised(() => this.#json("DELETE", `/api/rooms/${room}/invites/${grant}`));
  }

  /** Makes the call; if it needs a newer token, renews it and makes the call once more. */
  async #authorised<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof ApiError) || error.retry !== "sign_in") throw error;
    }
    await this.renew();
    return call();
  }

  async #json<T>(method: string, path: string, body?: object): Promise<T> {
    const answer = await this.#answer(method, path, body);
    if (answer.status === 204) return undefined as T;
    try {
      return (await answer.json()) as T;
    } catch {
      throw new ApiError({ code: "offline" });
    }
  }

  async #answer(method: string, path: string, body?: object): Promise<Response> {
    let answer: Response;
    try {
      answer = await this.#fetch(this.#origin + path, {
        method,
        credentials: "same-origin",
        cache: "no-store",
        redirect: "error",
        signal: AbortSignal.timeout(ANSWER_LIMIT_MS),
        ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
      });
    } catch {
      throw new ApiError({ code: "offline" });
    }
    if (answer.ok) return answer;
    throw await errorOf(answer);
  }
}

/** The error in an answer. One without a known code comes from something between us and the server. */
async function errorOf(answer: Response): Promise<ApiError> {
  try {
    const body = (await answer.json()) as ErrorBody;
    if (Object.hasOwn(ERROR_RETRY, body.code)) return new ApiError(body);
  } catch {
    // Not JSON: the same as no answer of the server.
  }
  return new ApiError({ code: answer.status >= 500 ? "unavailable" : "offline" });
}

function checkedPage(bytes: Uint8Array, before: number): LogPage {
  const { head: json, entries } = splitLogPage(bytes);
  const head = json as LogPageHead;
  fromB64(head.history, 16);
  const numbers = [head.head, head.from, head.to];
  if (!numbers.every(Number.isSafeInteger)) throw new TypeError("not a page");
  const count = Math.max(0, head.to - head.from + 1);
  const range = entries.slice(0, count);
  const gapless = range.length === count && range.every(({ seq }, index) => seq === head.from + index);
  if (!gapless || (count > 0 && (head.from < 1 || head.to !== before - 1))) throw new TypeError("not a page");
  return { ...head, entries: range, about: entries.slice(count) };
}
