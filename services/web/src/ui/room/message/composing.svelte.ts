/** What is being written in a room: a new message, an answer, or the new text of an old one. No text is lost on the way. */

import type { Actions, MemberView, MessageEntry, MessageExtras, Problem, RoomView } from "../../../view.ts";
import { complete, mentionsIn, NOBODY, pick, type MentionQuery, type Picked } from "../../timeline/mentions.ts";

export type Task =
  | { readonly kind: "new" }
  | { readonly kind: "reply"; readonly message: MessageEntry }
  | { readonly kind: "edit"; readonly message: MessageEntry };

const NEW: Task = { kind: "new" };

export class Composing {
  text = $state("");
  task = $state.raw<Task>(NEW);
  problem = $state.raw<Problem | null>(null);
  /** An edit is being handed over; the text must not change meanwhile. */
  saving = $state(false);

  readonly #room: () => RoomView;
  readonly #actions: Actions;
  /** The new message that waits while an old one is edited. */
  #aside = "";
  /** From the first key on the text is the user's, and later changes of the stored draft are this composer's own. */
  #touched = false;
  #picked: Picked = NOBODY;
  /** Hand-overs one after the other: texts reach the outbox in the order in which Enter was pressed. */
  #handing: Promise<void> = Promise.resolve();

  constructor(room: () => RoomView, actions: Actions) {
    this.#room = room;
    this.#actions = actions;
    this.text = room().draft;
  }

  /** The stored draft has to be decrypted first and may come after the room. */
  takeDraft(draft: string): void {
    if (this.#touched || draft === "") return;
    if (this.task.kind === "edit") this.#aside = draft;
    else this.text = draft;
  }

  /** The text was changed by its writer. */
  changed(): void {
    this.problem = null;
    if (this.task.kind === "edit") return;
    this.#touched = true;
    this.#actions.saveDraft(this.#room().id, this.text);
    if (this.text.trim() !== "") this.#actions.typing(this.#room().id);
  }

  reply(message: MessageEntry): void {
    if (this.saving) return;
    this.cancel();
    this.task = { kind: "reply", message };
  }

  edit(message: MessageEntry): void {
    if (this.saving || message.seq === null) return;
    this.cancel();
    this.#aside = this.text;
    this.#picked = message.mentions.reduce(pick, NOBODY);
    this.text = message.text;
    this.task = { kind: "edit", message };
  }

  /** Back to a new message, with the text it had. False if that is what is being written already. */
  cancel(): boolean {
    if (this.saving || this.task.kind === "new") return false;
    this.problem = null;
    if (this.task.kind === "edit") this.text = this.#aside;
    this.#aside = "";
    this.task = NEW;
    return true;
  }

  /** Puts a chosen member's name into the text; the answer is where the caret goes. */
  mention(query: MentionQuery, member: MemberView): number {
    const completed = complete(this.text, query, member.name);
    this.#picked = pick(this.#picked, member);
    this.text = completed.text;
    this.changed();
    return completed.caret;
  }

  /** Hands over what is written. What is not taken comes back, with the reason in `problem`. */
  async hand(): Promise<void> {
    if (this.saving || this.text.trim() === "") return;
    this.problem = this.#actions.checkMessage(this.text);
    if (this.problem !== null) return;
    if (this.task.kind === "edit") return this.#save(this.task.message);
    await this.#send(this.task);
  }

  async #save(message: MessageEntry): Promise<void> {
    if (message.seq === null || this.text === message.text) return void this.cancel();
    this.saving = true;
    const mentions = mentionsIn(this.text, this.#room().members, this.#picked);
    const saved = await this.#actions.edit(this.#room().id, message.seq, this.text, mentions);
    this.saving = false;
    if (saved.ok) this.cancel();
    else this.problem = saved.problem;
  }

  #send(task: Task): Promise<void> {
    const handed = this.text;
    const mentions = mentionsIn(handed, this.#room().members, this.#picked);
    const extras: MessageExtras = {
      ...(task.kind === "reply" && task.message.seq !== null ? { replyTo: task.message.seq } : {}),
      ...(mentions.length > 0 ? { mentions } : {}),
    };
    // Gone at once, so that a fast writer's next Enter is never swallowed; it comes back if the outbox does not take it.
    this.text = "";
    this.task = NEW;
    this.#touched = true;
    this.#handing = this.#handing.then(async () => {
      const { id } = this.#room();
      const taken = await this.#actions.send(id, handed, extras);
      if (taken.ok) {
        // Sending clears the stored draft, also of what was begun in the meantime.
        if (this.#unsent !== "") this.#actions.saveDraft(id, this.#unsent);
        return;
      }
      this.problem = taken.problem;
      this.#takeBack(handed);
      // Unless something else was begun meanwhile, it is an answer again.
      if (this.task.kind === "new") this.task = task;
      this.#actions.saveDraft(id, this.#unsent);
    });
    return this.#handing;
  }

  /** The new message, also while an old one is edited. */
  get #unsent(): string {
    return this.task.kind === "edit" ? this.#aside : this.text;
  }

  #takeBack(handed: string): void {
    const together = this.#unsent === "" ? handed : `${handed}\n${this.#unsent}`;
    if (this.task.kind === "edit") this.#aside = together;
    else this.text = together;
  }
}
