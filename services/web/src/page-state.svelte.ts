//! What the page shows, as fields that components can watch. Only the session, its drawing and the actions write them, each as a whole.

import { MEMBER_NAME_CHARS_MAX, ROOM_NAME_CHARS_MAX, TEXT_CHARS_MAX } from "./protocol.gen.ts";
import type {
  BannedView,
  Boot,
  Connection,
  Contradiction,
  Entry,
  Limits,
  MemberView,
  MoveView,
  PinView,
  Problem,
  Role,
  RoomEnd,
  RoomPermissions,
  RoomSummary,
  RoomView,
  View,
  ViolationView,
} from "./view.ts";

/** Before the room's chain is known nobody may do anything. */
const NOTHING: RoomPermissions = {
  topic: false,
  lock: false,
  slow: false,
  mute: false,
  remove: false,
  eraseMember: false,
  password: false,
  roles: false,
  transfer: false,
  retention: false,
  history: false,
  recovery: false,
  deleteRoom: false,
  invite: false,
};

export class RoomState implements RoomView {
  readonly id: string;
  name = $state.raw("");
  role = $state.raw<Role>("member");
  state = $state.raw<RoomView["state"]>("opening");
  problem = $state.raw<Problem | null>(null);
  ended = $state.raw<RoomEnd | null>(null);
  entries = $state.raw<readonly Entry[]>([]);
  complete = $state.raw(false);
  older = $state.raw<RoomView["older"]>("idle");
  unreadAfterSeq = $state.raw<number | null>(null);
  members = $state.raw<readonly MemberView[]>([]);
  hereCount = $state.raw(0);
  typing = $state.raw<readonly string[]>([]);
  typingCount = $state.raw(0);
  violations = $state.raw<readonly ViolationView[]>([]);
  draft = $state.raw("");
  topic = $state.raw("");
  locked = $state.raw(false);
  slowMs = $state.raw(0);
  retentionMs = $state.raw(0);
  historyFrom = $state.raw(0);
  epoch = $state.raw(0);
  pins = $state.raw<readonly PinView[]>([]);
  banned = $state.raw<readonly BannedView[]>([]);
  may = $state.raw(NOTHING);
  mutedUntilMs = $state.raw<number | null>(null);
  slowUntilMs = $state.raw<number | null>(null);
  keyMissing = $state.raw(false);
  stalled = $state.raw(false);
  contradicted = $state.raw<Contradiction | null>(null);
  recoveryAstray = $state.raw(false);
  fingerprint = $state.raw("");

  constructor(id: string) {
    this.id = id;
  }
}

export class PageState implements View {
  boot = $state.raw<Boot>({ state: "starting" });
  connection = $state.raw<Connection>({ state: "online" });
  myName = $state.raw("");
  invited = $state.raw(false);
  rooms = $state.raw<readonly RoomSummary[]>([]);
  room = $state.raw<RoomState | null>(null);
  move: MoveView | null = $state.raw(null);
  readonly limits: Limits = {
    messageMax: TEXT_CHARS_MAX,
    memberNameMax: MEMBER_NAME_CHARS_MAX,
    roomNameMax: ROOM_NAME_CHARS_MAX,
  };
}
