//! Every HTTP call of the protocol, with typed errors. The token is a cookie that no script sees; when it has ended,
//! it is renewed by a signature, once for all callers, and the call is made again.

import { b64 } from "./base64url.ts";
import { type Bytes } from "./bytes.ts";
import { type Device } from "./crypto/device.ts";
import { NO_ROOM, signInSignature } from "./crypto/sign-in.ts";
import { ApiError, Http } from "./http.ts";
import { logPage, sparsePage, type LogPage, type SparsePage } from "./log-page.ts";
import {
  type Committed,
  type CreateInvite,
  type CreateRoom,
  type Entered,
  type EpochKeys,
  type Invite,
  type InvitesAnswer,
  type JoinRequest,
  type LookupAnswer,
  type Member,
  type MembersAnswer,
  type NewEpoch,
  type NonceAnswer,
  type RoomsAnswer,
  type SignIn,
  type Signed,
  type StageKeys,
  type StepRequest,
  MEMBERS_LISTED_MAX,
  MEMBERS_PAGE_MAX,
} from "../protocol.gen.ts";

export { ApiError } from "./http.ts";
export type { LogPage, SparsePage } from "./log-page.ts";

/** So many pages of members are asked for. */
const MEMBER_PAGES_MAX = MEMBERS_LISTED_MAX / MEMBERS_PAGE_MAX;

type ApiDevice = Pick<Device, "signKey" | "agreeKey" | "sign">;

export class Api {
  readonly #device: ApiDevice;
  readonly #origin: string;
  readonly #http: Http;
  readonly #bearer: boolean;
  #renewing: Promise<void> | undefined;

  /**
   * `origin` is the page's, without a trailing slash: calls go there and sign-ins are for it. `bearer` keeps the token here
   * instead of in a cookie: for a device that is not this browser's own.
   */
  constructor(device: ApiDevice, origin: string, fetcher: typeof fetch = (...args) => fetch(...args), bearer = false) {
    this.#device = device;
    this.#origin = origin;
    this.#http = new Http(origin, fetcher);
    this.#bearer = bearer;
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
      bearer: this.#bearer,
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
    const { token } = await this.#http.json<Signed>("POST", "/api/token", { sign_in });
    if (this.#bearer) this.#http.bearer = token;
  }

  rooms(): Promise<RoomsAnswer> {
    return this.#authorised(() => this.#json("GET", "/api/rooms"));
  }

  deleteRoom(room: string): Promise<void> {
    return this.#authorised(() => this.#json("DELETE", `/api/rooms/${room}`));
  }

  /** All members, those who left included, page by page; of more than can be, the first ones. */
  async members(room: string): Promise<Member[]> {
    const members: Member[] = [];
    for (let pages = 0; pages < MEMBER_PAGES_MAX; pages++) {
      const last = members.at(-1);
      const after = last === undefined ? "" : `?after=${last.device}`;
      const page = await this.#authorised(() => this.#json<MembersAnswer>("GET", `/api/rooms/${room}/members${after}`));
      members.push(...page.members);
      if (!page.more || page.members.length === 0) break;
    }
    return members;
  }

  member(room: string, device: string): Promise<Member> {
    return this.#authorised(() => this.#json("GET", `/api/rooms/${room}/members/${device}`));
  }

  /** The newest entries before `before`, at most `limit`. */
  history(room: string, before: number, limit: number): Promise<LogPage> {
    const path = `/api/rooms/${room}/history?before=${before}&limit=${limit}`;
    return this.#page(path, (bytes) => logPage(bytes, before));
  }

  /** The newest chain entries before `before` (absent: all), at most `limit`. */
  chain(room: string, before: number | undefined, limit: number): Promise<SparsePage> {
    const path = `/api/rooms/${room}/chain?limit=${limit}${before === undefined ? "" : `&before=${before}`}`;
    return this.#page(path, (bytes) => sparsePage(bytes, before ?? Infinity));
  }

  /** The newest pins. */
  pins(room: string): Promise<SparsePage> {
    return this.#page(`/api/rooms/${room}/pins`, (bytes) => sparsePage(bytes, Infinity));
  }

  #page<Page>(path: string, read: (bytes: Bytes) => Page): Promise<Page> {
    return this.#authorised(async () => {
      const bytes = await this.#http.bytes(path);
      try {
        return read(bytes);
      } catch {
        throw new ApiError({ code: "offline" });
      }
    });
  }

  /** Appends a step; the same request again is answered the same way. */
  step(room: string, step: StepRequest): Promise<Committed> {
    return this.#authorised(() => this.#json("POST", `/api/rooms/${room}/steps`, step));
  }

  /** Whom an epoch's key was sealed to, this device's own, and what was sealed to the devices `of`. */
  epochKeys(room: string, epoch: number, of: readonly string[] = []): Promise<EpochKeys> {
    const query = of.length === 0 ? "" : `?of=${of.join(",")}`;
    return this.#authorised(() => this.#json("GET", `/api/rooms/${room}/epochs/${epoch}/keys${query}`));
  }

  /** Stages sealed keys for a new epoch. */
  stageKeys(room: string, epoch: number, keys: StageKeys): Promise<void> {
    return this.#authorised(() => this.#json("PUT", `/api/rooms/${room}/epochs/${epoch}/keys`, keys));
  }

  /** Begins a new epoch with the keys staged for it; the same request again is answered the same way. */
  newEpoch(room: string, epoch: NewEpoch): Promise<Committed> {
    return this.#authorised(() => this.#json("POST", `/api/rooms/${room}/epochs`, epoch));
  }

  putOffer(move: string, offer: Bytes): Promise<void> {
    return this.#http.putBytes(`/api/moves/${move}/offer`, offer);
  }

  offer(move: string): Promise<Bytes> {
    return this.#http.bytes(`/api/moves/${move}/offer`);
  }

  moveNonce(move: string): Promise<Bytes> {
    return this.#http.bytes(`/api/moves/${move}/nonce`);
  }

  putNonce(move: string, nonce: Bytes): Promise<void> {
    return this.#authorised(() => this.#http.putBytes(`/api/moves/${move}/nonce`, nonce));
  }

  reveal(move: string): Promise<Bytes> {
    return this.#http.bytes(`/api/moves/${move}/reveal`);
  }

  putReveal(move: string, reveal: Bytes): Promise<void> {
    return this.#http.putBytes(`/api/moves/${move}/reveal`, reveal);
  }

  putAnswer(move: string, answer: Bytes): Promise<void> {
    return this.#authorised(() => this.#http.putBytes(`/api/moves/${move}/answer`, answer));
  }

  answer(move: string): Promise<Bytes> {
    return this.#http.bytes(`/api/moves/${move}/answer`);
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

  #json<T>(method: string, path: string, body?: object): Promise<T> {
    return this.#http.json(method, path, body);
  }
}
