//! Roles that the server goes by and the chain does not know. What a step does is in its sealed body; the server enforces what the
//! request said beside it, which no other page sees. So an owner may have left powers there that no step gave.

import { ApiError } from "../http.ts";
import { type Chain } from "../chain/chain.ts";
import { PageProblem } from "../page-problem.ts";
import { ADMINS_MAX, type Member, type Role } from "../../protocol.gen.ts";
import { take } from "./steps.ts";
import { type Steward } from "./steward.ts";

const RANK: Readonly<Record<Role, number>> = { member: 0, moderator: 1, owner: 2 };

/**
 * As an owner, has the server go by the chain's roles, by steps that change nothing in the chain, as far as it can be had. A server
 * that lies about its list gets a few steps more. Keys have been found to be the devices'.
 */
export async function setRolesRight(steward: Steward, members: readonly Member[]): Promise<void> {
  const fold = await steward.fold();
  if (fold.role(steward.world.device.id) !== "owner") return;
  // Who gets a role first, so that the server is never without an owner.
  const wrong = misplaced(fold, members).sort((a, b) => RANK[fold.role(b.device)] - RANK[fold.role(a.device)]);
  for (const { device, sign_key: signKey, agree_key: agreeKey } of wrong.slice(0, ADMINS_MAX)) {
    try {
      await take(steward, { type: "role", role: fold.role(device), device, signKey, agreeKey });
    } catch (error) {
      // What cannot be set right may be in nobody's way: the server's answer to the record tells.
      if (!(error instanceof ApiError) && !(error instanceof PageProblem)) throw error;
    }
  }
}

/** Those who were removed or banned have no role to hold on to. */
function misplaced(fold: Chain, members: readonly Member[]): Member[] {
  return members.filter(
    ({ device, role, state }) => (state === "member" || state === "left") && role !== fold.role(device),
  );
}
