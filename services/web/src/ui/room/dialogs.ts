/** The dialogs that can stand before a room, one at a time, and how each is loaded. */

import type { Component } from "svelte";
import type { Actions, DeviceId, RoomId, RoomView, View } from "../../view.ts";

export type DialogName =
  | "invites"
  | "people"
  | "rename"
  | "trust"
  | "settings"
  | "password"
  | "rotate"
  | "history"
  | "recovery"
  | "transfer"
  | "banned"
  | "audit"
  | "shortcuts"
  | "leave"
  | "delete"
  | "anew"
  | "switcher";

/** A dialog about one member. */
export interface MemberDialogName {
  readonly about: "member" | "remove" | "ban";
  readonly device: DeviceId;
}

export type RoomDialog = DialogName | MemberDialogName;

/** What every dialog of a room is given; each takes what it needs. */
export interface RoomDialogProps {
  readonly view: View;
  readonly room: RoomView;
  readonly actions: Actions;
  readonly dialog: RoomDialog;
  readonly onclose: () => void;
  /** Puts another dialog in the place of this one. */
  readonly ondialog: (dialog: RoomDialog) => void;
  /** Opens another room. */
  readonly onopen: (room: RoomId) => void;
  /** One is in the room no longer. */
  readonly onleft: () => void;
  /** One comes into the room of this name once more. */
  readonly onrejoin: (name: string) => void;
}

type Loaded = Promise<{ default: Component<RoomDialogProps> }>;

/** Dialogs are no part of the first load: few people open them, and none before a room is there. */
const LOADERS: Record<DialogName | MemberDialogName["about"], () => Loaded> = {
  invites: () => import("./InvitesDialog.svelte"),
  people: () => import("./people/PeopleDialog.svelte"),
  member: () => import("./people/MemberDialog.svelte"),
  remove: () => import("./people/RekeyDialog.svelte"),
  ban: () => import("./people/RekeyDialog.svelte"),
  rotate: () => import("./people/RekeyDialog.svelte"),
  history: () => import("./people/RekeyDialog.svelte"),
  recovery: () => import("./people/RekeyDialog.svelte"),
  rename: () => import("./RenameDialog.svelte"),
  trust: () => import("./people/TrustDialog.svelte"),
  settings: () => import("./settings/SettingsDialog.svelte"),
  password: () => import("./settings/PasswordDialog.svelte"),
  transfer: () => import("./settings/TransferDialog.svelte"),
  banned: () => import("./people/BannedDialog.svelte"),
  audit: () => import("./settings/AuditDialog.svelte"),
  shortcuts: () => import("./ShortcutSheet.svelte"),
  leave: () => import("./LeaveDialog.svelte"),
  delete: () => import("./DeleteDialog.svelte"),
  anew: () => import("./AnewDialog.svelte"),
  switcher: () => import("./Switcher.svelte"),
};

/** Rejects when the server cannot be reached. */
export function loadDialog(dialog: RoomDialog): Loaded {
  return LOADERS[typeof dialog === "string" ? dialog : dialog.about]();
}

/** Fetches all dialogs in an idle moment, so that they open at once and also while there is no connection. */
export function preloadDialogs(): void {
  for (const load of Object.values(LOADERS)) load().catch(() => undefined);
}
