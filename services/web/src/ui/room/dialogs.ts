/** The dialogs that can stand before a room; one at a time. */
export type RoomDialog = "invites" | "people" | "rename" | "security" | "shortcuts" | "leave" | "delete" | "switcher";
