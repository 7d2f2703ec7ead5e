// What the pieces of a page that come later are given, and what they export (docs/adr/0036-what-comes-later-is-modules.md). For the type checker only.

/** A message, as a piece may know it. */
export interface Message {
  /** The id of its author. */
  author: string;
  /** The nickname of its author when it was posted. */
  name: string;
  /** The text as it was typed. Empty if there are pictures alone. */
  text: string;
  isOwn: boolean;
  canEdit: boolean;
  canRemove: boolean;
}

/** Someone who can be mentioned. */
export interface Person {
  id: string;
  name: string;
  /** Whether they are in the chat now. */
  isHere: boolean;
}

/** The functions of the module in WASM (frontend/src/later.rs). Those with a question mark belong to parts of the page that may not be there. */
export interface Core {
  ask(command: string, answered: (seq?: number, sentence?: string) => void): void;
  message(seq: number): Message | undefined;
  /** The command, as JSON, that brings an own message back once it is removed; the position of the removal, which is 0, has to be put into it. */
  undo(seq: number): string | undefined;
  people(): Person[];
  mention(id: string, name: string): void;
  about(seq: number): boolean;
  not_connected(): void;
  /** Begins an answer to a message. Returns false if it cannot. */
  reply(seq: number): boolean;
  /** Shows a message, wherever in the history it is. Returns false if it cannot. */
  go_to(seq: number): boolean;
  /** Whether there are later messages that are not loaded. */
  has_later(): boolean;
  /** Records that the reader has reacted, or does so no more, as of the position of the command that said so. */
  reacted?(seq: number, emoji: string, isOn: boolean, at: number): void;
  /** Takes what goes with the message being written: the JSON of a list of tickets with descriptions, and whether others are being uploaded. */
  attach?(tickets: string, areComing: boolean): void;
  stop(): void;
}

/** What later.js gives to each piece. */
export interface Page {
  /** The functions of the module that runs now: it may be replaced by another one, so a piece keeps none of them. */
  readonly core: Core;
  /** The id of the chat. */
  readonly chat: string;
  /** Sends a command of the protocol. Resolves with its position in the log; rejects with an error whose message is a sentence for the user. */
  ask(command: Record<string, unknown>): Promise<number>;
  /** Returns the address of a file that comes later, with its version. */
  address(file: string): string | undefined;
  /** Loads another piece. Rejects if it cannot be loaded. */
  load(name: string): Promise<Piece>;
  /** Does what a click on an element with `data-later` does. */
  open(element: HTMLElement): Promise<void>;
  /** Follows a link, or submits the form of a button, as without a script. Says so if the server cannot be reached. */
  follow(element: HTMLElement): Promise<void>;
  /** Opens a modal dialog at an element, or as a sheet on small screens. A click or tap beside it closes it. */
  show(dialog: HTMLDialogElement, anchor: Element): void;
  /** Closes a dialog by a click or tap beside it, from now on. */
  closeBeside(dialog: HTMLDialogElement): void;
  /** Shows a sentence for some seconds, which screen readers read. */
  tell(sentence: string): void;
  /** Shows a message: scrolls to it if it is loaded, or else loads the part of the history around it. */
  goTo(seq: number): void;
}

/** A module in style/public/later. What it does not need, it does not export. */
export interface Piece {
  /** An element with `data-later` and the name of the piece was activated. */
  open?(page: Page, element: HTMLElement): void | Promise<void>;
  /** A key was pressed on the actions of a message. */
  key?(page: Page, bar: HTMLElement, key: string): void;
  /** A touch on a message was held. */
  hold?(page: Page, bar: HTMLElement): void;
  /** The text of a field has changed. */
  update?(page: Page, field: HTMLTextAreaElement): void;
  /** Files that are pictures were chosen, pasted or dropped. */
  take?(page: Page, files: File[]): void;
  /** The last own message is to be edited. Returns false if there is none. */
  editLast?(page: Page, field: HTMLElement): boolean;
  /** The page is live again: what was being edited before a reload is offered again. */
  resume?(page: Page): void;
  /** An own message in this row was removed, at this position; `command` brings it back. */
  offerUndo?(page: Page, row: HTMLElement, command: string, removal: number, isByKeys: boolean): void;
  /** A long text was pasted into a field. */
  offer?(page: Page, field: HTMLElement, text: string): void;
}
