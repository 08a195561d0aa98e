//! What the page shows, as fields that components can watch. Only the session, its drawing and the actions write them, each as a whole.

import { MEMBER_NAME_CHARS_MAX, ROOM_NAME_CHARS_MAX, TEXT_CHARS_MAX } from "./protocol.gen.ts";
import type {
  Boot,
  Connection,
  Entry,
  Limits,
  MemberView,
  Problem,
  Role,
  RoomEnd,
  RoomSummary,
  RoomView,
  View,
  ViolationView,
} from "./view.ts";

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
  violations = $state.raw<readonly ViolationView[]>([]);
  draft = $state.raw("");

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
  readonly limits: Limits = {
    messageMax: TEXT_CHARS_MAX,
    memberNameMax: MEMBER_NAME_CHARS_MAX,
    roomNameMax: ROOM_NAME_CHARS_MAX,
  };
}
