// What can be done with a message: the menu "More", which a held touch opens as well, the keys on a message that has the
// focus, and the buttons of its reactions.

/** @import { Page } from '../../later' */
/** @typedef {{ name: string, act: (isByKeys?: boolean) => unknown, isFinal?: boolean }} Action */

const seqOf = (/** @type {Element} */ element) => Number(/** @type {HTMLElement | null} */ (element.closest('[data-seq]'))?.dataset.seq);
const link = (/** @type {string} */ href) => Object.assign(document.createElement('a'), { href });
const inBar = (/** @type {Element} */ bar, /** @type {string} */ selector) => /** @type {HTMLElement | null} */ (bar.querySelector(selector));

/** Returns the address of a message in a chat. */
const addressOf = (/** @type {Page} */ page, /** @type {number} */ seq) => new URL(`/chat/${page.chat}?at=${seq}`, location.href).href;

/** Does something, and says so, or why it was not done. */
const attempt = async (/** @type {Page} */ page, /** @type {() => Promise<unknown>} */ act, done = '') => {
  try {
    await act();
    if (done) page.tell(done);
    return true;
  } catch (error) {
    page.tell(/** @type {Error} */ (error).message);
    return false;
  }
};

const copy = async (/** @type {string} */ text) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // there is no clipboard on pages that were loaded without TLS: this is the way from before
    const field = Object.assign(document.createElement('textarea'), { value: text, readOnly: true, className: 'hidden' });
    const focused = document.activeElement;
    document.body.append(field);
    field.select();
    const isCopied = document.execCommand('copy');
    field.remove();
    if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
    if (!isCopied) throw new Error('The browser did not let this page copy it. Select it, and copy it yourself.');
  }
};

const copyLink = (/** @type {Page} */ page, /** @type {number} */ seq) => attempt(page, () => copy(addressOf(page, seq)), 'Link copied');

const edit = async (/** @type {Page} */ page, /** @type {HTMLElement} */ bar) => {
  const otherwise = () => page.follow(link(`/chat/${page.chat}?edit=${seqOf(bar)}`));
  const piece = page.address('edit.js') ? await page.load('edit').catch(() => undefined) : undefined;
  return piece?.open ? piece.open(page, bar) : otherwise();
};

const remove = async (/** @type {Page} */ page, /** @type {HTMLElement} */ bar, isByKeys = false) => {
  const message = seqOf(bar);
  const row = /** @type {HTMLElement | null} */ (bar.closest('li'));
  // before its text is gone
  const command = page.core.undo(message);
  const piece = command ? page.load('undo').catch(() => undefined) : undefined;
  let removal = 0;
  const isRemoved = await attempt(page, async () => (removal = await page.ask({ remove_message: { chat: page.chat, message } })));
  if (!isRemoved) return;
  const { offerUndo } = (await piece) ?? {};
  if (row && command) offerUndo?.(page, row, command, removal, isByKeys);
  // the actions go with the message; on a phone, the field would open a keyboard
  if (!(offerUndo && isByKeys) && matchMedia('(hover: hover) and (pointer: fine)').matches) {
    /** @type {HTMLElement | null} */ (document.querySelector('.composer textarea'))?.focus();
  }
};

/** Returns what can be done with the message of these actions, in the order of the menu. None if it is not loaded. */
export const actions = (/** @type {Page} */ page, /** @type {HTMLElement} */ bar) => {
  const seq = seqOf(bar);
  const message = page.core.message(seq);
  if (!message) return [];
  /** @type {(Action | false)[]} */
  const all = [
    message.canEdit && { name: 'Edit message', act: () => edit(page, bar) },
    !!message.text && { name: 'Copy text', act: () => attempt(page, () => copy(message.text), 'Text copied') },
    { name: 'Copy link to message', act: () => copyLink(page, seq) },
    { name: message.isOwn ? 'About your message' : `About ${message.name}`, act: () => page.core.about(seq) },
    message.canRemove && { name: 'Remove message', act: (isByKeys) => remove(page, bar, isByKeys), isFinal: true },
  ];
  return all.filter((action) => action !== false);
};

/** Returns the place of the item that a key leads to. `undefined` if it leads to none. */
export const step = (/** @type {string[]} */ names, /** @type {number} */ place, /** @type {string} */ key) => {
  const last = names.length - 1;
  switch (key) {
    case 'ArrowDown':
      return place < last ? place + 1 : 0;
    case 'ArrowUp':
      return place > 0 ? place - 1 : last;
    case 'Home':
    case 'PageUp':
      return 0;
    case 'End':
    case 'PageDown':
      return last;
    default: {
      if (key.length !== 1) return undefined;
      // the next one that begins with the letter
      const after = names.map((_, index) => (place + 1 + index) % names.length);
      return after.find((index) => names[index]?.toLowerCase().startsWith(key.toLowerCase()));
    }
  }
};

/** @type {HTMLDialogElement | undefined} */
let dialog;
/** The element that has the focus again after the menu. @type {HTMLElement} */
let origin;

const items = () => /** @type {HTMLElement[]} */ ([...(dialog?.querySelectorAll('[role=menuitem]') ?? [])]);

const handleKey = (/** @type {KeyboardEvent} */ event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const all = items();
  const place = all.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const next = step(all.map((item) => item.textContent ?? ''), place, event.key);
  if (event.key === 'Tab') dialog?.close();
  else if (next === undefined || event.key === ' ') return;
  else all[next]?.focus();
  event.preventDefault();
};

const showMenu = (/** @type {Page} */ page, /** @type {HTMLElement} */ anchor, /** @type {Action[]} */ list) => {
  if (!dialog) {
    dialog = Object.assign(document.createElement('dialog'), { className: 'menu floating' });
    dialog.setAttribute('aria-label', 'More');
    dialog.addEventListener('keydown', handleKey);
    // browsers return the focus only to what had it, and a link that is clicked has it in some of them
    dialog.addEventListener('close', () => origin.removeAttribute('aria-expanded'));
    dialog.addEventListener('close', () => origin.isConnected && document.activeElement === document.body && origin.focus({ preventScroll: true }));
  }
  const menu = document.createElement('div');
  menu.setAttribute('role', 'menu');
  menu.setAttribute('aria-label', 'More');
  for (const { name, act, isFinal } of list) {
    const item = Object.assign(document.createElement('button'), { type: 'button', tabIndex: -1, textContent: name });
    item.setAttribute('role', 'menuitem');
    item.classList.toggle('irreversible', !!isFinal);
    item.addEventListener('click', ({ detail }) => {
      dialog?.close();
      // a click by keys is none of a pointer
      act(detail === 0);
    });
    menu.append(item);
  }
  dialog.replaceChildren(menu);
  origin = anchor;
  // the actions of this message stay
  origin.setAttribute('aria-expanded', 'true');
  page.show(dialog, anchor);
  items()[0]?.focus();
};

/** Adds or takes back a reaction, whose button says which. */
const toggle = async (/** @type {Page} */ page, /** @type {HTMLButtonElement} */ button) => {
  const message = seqOf(button);
  const isOn = button.getAttribute('aria-pressed') !== 'true';
  await attempt(page, async () => {
    const { value: emoji } = button;
    const at = await page.ask({ react: { chat: page.chat, message, emoji, is_on: isOn } });
    page.core.reacted?.(message, emoji, isOn, at);
  });
};

/** Opens the menu of a message, or toggles a reaction. */
export const open = (/** @type {Page} */ page, /** @type {HTMLElement} */ element) => {
  if (element instanceof HTMLButtonElement) return toggle(page, element);
  const bar = /** @type {HTMLElement} */ (element.closest('.actions') ?? element);
  const list = actions(page, bar);
  return list.length ? showMenu(page, element, list) : page.follow(element);
};

/** Opens a menu with all that can be done with a message. */
export const hold = (/** @type {Page} */ page, /** @type {HTMLElement} */ bar) => {
  const list = actions(page, bar);
  const links = /** @type {HTMLElement[]} */ ([...bar.querySelectorAll('a:not([data-later=actions])')]);
  const first = links.map((each) => ({ name: each.getAttribute('aria-label') ?? '', act: () => each.click() }));
  if (list.length) showMenu(page, bar, [...first, ...list]);
};

/** Does what a key means on the actions of a message. */
export const key = (/** @type {Page} */ page, /** @type {HTMLElement} */ bar, /** @type {string} */ key) => {
  const seq = seqOf(bar);
  const message = page.core.message(seq);
  const links = /** @type {HTMLElement[]} */ ([...bar.querySelectorAll('a')]);
  const place = links.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  switch (key) {
    case 'ArrowLeft':
      return links[Math.max(0, place - 1)]?.focus();
    case 'ArrowRight':
      return links[Math.min(links.length - 1, place + 1)]?.focus();
    case 'r':
      return inBar(bar, '[data-call=reply]')?.click();
    case '+':
      return inBar(bar, '[data-later=emoji]')?.click();
    case 'c':
      return void copyLink(page, seq);
    case 'e':
      return void (message?.canEdit && edit(page, bar));
    case 'Delete':
      return void (message?.canRemove && remove(page, bar, true));
  }
};
