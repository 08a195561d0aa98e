import { expect, it } from "vitest";

import { b64 } from "../base64url.ts";
import { random } from "../bytes.ts";
import { deviceId } from "../crypto/device.ts";
import { eligible, namesRecipients, recipientsHash } from "./eligible.ts";
import { sortedDevices } from "./order.ts";
import { type EpochRecord } from "./record.ts";
import { foundingState, type DeviceKeys } from "./state.ts";

async function someKeys(agreeKey = random(32)): Promise<DeviceKeys> {
  const signKey = random(32);
  return { device: await deviceId({ signKey, agreeKey }), signKey: b64(signKey), agreeKey: b64(agreeKey) };
}

it("a key is sealed to whom this epoch knows, and to nobody the server merely lists", async () => {
  const people = await Promise.all(Array.from({ length: 8 }, () => someKeys()));
  const [owner, recovery, received, introduced, smuggled, banned, removed, forged] = people as [
    DeviceKeys,
    DeviceKeys,
    DeviceKeys,
    DeviceKeys,
    DeviceKeys,
    DeviceKeys,
    DeviceKeys,
    DeviceKeys,
  ];
  const gone = await someKeys();
  const state = { ...foundingState(owner, recovery), banned: [banned.device] };
  const lying = { ...forged, agreeKey: b64(random(32)) };
  const lowOrder = await someKeys(new Uint8Array(32));
  const result = await eligible(state, owner.device, {
    members: [owner, received, introduced, smuggled, banned, removed, lying, lowOrder, recovery],
    recipients: new Set([received, banned, removed, lying, lowOrder, gone].map(({ device }) => device)),
    introduced: new Set([owner.device, introduced.device]),
    removing: new Set([removed.device]),
  });
  const wanted = [owner, recovery, received, introduced].map(({ device }) => device);
  expect(result.recipients.map(({ device }) => device)).toEqual(sortedDevices(wanted));
  expect(result.recipients.find(({ device }) => device === owner.device)).toEqual(owner);
  expect(result.excluded).toEqual(sortedDevices([smuggled, banned, lying, lowOrder].map(({ device }) => device)));
});

it("who is not outranked is sealed to whatever the server says of them", async () => {
  const people = await Promise.all(Array.from({ length: 6 }, () => someKeys()));
  const [owner, recovery, boss, moderator, other, member] = people as [
    DeviceKeys,
    DeviceKeys,
    DeviceKeys,
    DeviceKeys,
    DeviceKeys,
    DeviceKeys,
  ];
  const lowOrder = await someKeys(new Uint8Array(32));
  const founding = foundingState(owner, recovery);
  const admin = (keys: DeviceKeys, role: "owner" | "moderator") => ({ ...keys, role, recovery: false });
  const appointed = [
    admin(boss, "owner"),
    admin(moderator, "moderator"),
    admin(other, "moderator"),
    admin(lowOrder, "owner"),
  ];
  const state = { ...founding, admins: [...founding.admins, ...appointed] };
  // The server shows nobody but somebody else's keys in the name of another owner.
  const members = [{ ...member, device: boss.device }, member];
  const sealedTo = async (signer: DeviceKeys) => {
    const of = {
      members,
      recipients: new Set<string>(),
      introduced: new Set([member.device]),
      removing: new Set<string>(),
    };
    const { recipients, excluded } = await eligible(state, signer.device, of);
    expect(excluded).toEqual([]);
    return recipients.map(({ device }) => device);
  };
  const ids = (...keys: DeviceKeys[]) => sortedDevices(keys.map(({ device }) => device));
  expect(await sealedTo(owner)).toEqual(ids(owner, recovery, boss, member));
  expect(await sealedTo(recovery)).toEqual(ids(owner, recovery, boss, member));
  expect(await sealedTo(moderator)).toEqual(ids(owner, recovery, boss, moderator, other, member));
});

it("a list of recipients is the record's in any order, and no other", async () => {
  const devices = [b64(random(16)), b64(random(16)), b64(random(16))];
  const recipients = await recipientsHash(devices);
  expect(await recipientsHash([...devices].reverse())).toBe(recipients);
  const record = { recipients } as EpochRecord;
  expect(await namesRecipients(record, devices)).toBe(true);
  expect(await namesRecipients(record, devices.slice(1))).toBe(false);
  expect(await namesRecipients({ recipients: undefined } as EpochRecord, [])).toBe(true);
  expect(await namesRecipients({ recipients: undefined } as EpochRecord, devices)).toBe(false);
});
