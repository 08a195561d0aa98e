//! One HTTP request of the protocol, with typed errors.

import { type Bytes } from "./bytes.ts";
import { ERROR_RETRY, type ErrorBody, type ErrorCode, type Retry } from "../protocol.gen.ts";

/** Longest wait for an answer. */
const ANSWER_LIMIT_MS = 20_000;

/** A call failed. `offline`: no answer at all, or one that is not the server's. */
export class ApiError extends Error {
  readonly code: ErrorCode | "offline";
  readonly retry: Retry;
  readonly retryAfterMs: number | undefined;
  readonly freeVariant: string | undefined;
  /** With `clock_ahead`: the server's time. */
  readonly serverAtMs: number | undefined;

  constructor(body: Omit<Partial<ErrorBody>, "code"> & { code: ErrorCode | "offline" }) {
    super(body.message ?? body.code);
    this.code = body.code;
    this.retry = body.retry ?? "later";
    this.retryAfterMs = body.retry_after_ms;
    this.freeVariant = body.free_variant;
    this.serverAtMs = body.server_at_ms;
  }
}

export class Http {
  readonly #origin: string;
  readonly #fetch: typeof fetch;
  /** Sent instead of a cookie. */
  bearer: string | undefined;

  constructor(origin: string, fetcher: typeof fetch) {
    this.#origin = origin;
    this.#fetch = fetcher;
  }

  /** A call with a JSON body, if any, and a JSON answer, if any. Rejects with `ApiError`. */
  async json<T>(method: string, path: string, body?: object): Promise<T> {
    const sent = body === undefined ? undefined : { type: "application/json", bytes: JSON.stringify(body) };
    const answer = await this.#answer(method, path, sent);
    if (answer.status === 204) return undefined as T;
    try {
      return (await answer.json()) as T;
    } catch {
      throw new ApiError({ code: "offline" });
    }
  }

  /** A call answered with bytes. Rejects with `ApiError`. */
  async bytes(path: string): Promise<Bytes> {
    const answer = await this.#answer("GET", path);
    try {
      return new Uint8Array(await answer.arrayBuffer());
    } catch {
      throw new ApiError({ code: "offline" });
    }
  }

  /** Puts bytes. Rejects with `ApiError`. */
  async putBytes(path: string, bytes: Bytes): Promise<void> {
    await this.#answer("PUT", path, { type: "application/octet-stream", bytes });
  }

  async #answer(method: string, path: string, body?: { type: string; bytes: string | Bytes }): Promise<Response> {
    const headers: Record<string, string> = {};
    if (body !== undefined) headers["content-type"] = body.type;
    if (this.bearer !== undefined) headers["authorization"] = `Bearer ${this.bearer}`;
    let answer: Response;
    try {
      answer = await this.#fetch(this.#origin + path, {
        method,
        // A bearer token is another device's than the cookie's.
        credentials: this.bearer === undefined ? "same-origin" : "omit",
        cache: "no-store",
        redirect: "error",
        signal: AbortSignal.timeout(ANSWER_LIMIT_MS),
        headers,
        ...(body !== undefined && { body: body.bytes }),
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
