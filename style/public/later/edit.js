// Editing an own message in its place: the text becomes a field, and the composer waits until that is done. What is not
// saved yet is kept for after a reload.

/** @import { Page } from '../../later' */

/** The maximum length of a message, and from how many characters before it on the counter is shown, as in the composer. */
const [LIMIT, COUNTER_FROM] = [4_000, 200];

const seqOf = (/** @type {Element} */ element) => Number(/** @type {HTMLElement | null} */ (element.closest('[data-seq]'))?.dataset.seq);
const barOf = (/** @type {number} */ seq) => /** @type {HTMLElement | null} */ (document.querySelector(`.actions[data-seq="${seq}"]`));

/** The texts that are not saved yet, by message, in `sessionStorage`. A browser that refuses it keeps none. */
const unsaved = {
  key: (/** @type {string} */ chat, /** @type {number} */ seq) => `edit ${chat} ${seq}`,
  get: (/** @type {string} */ chat, /** @type {number} */ seq) => {
    try {
      return sessionStorage.getItem(unsaved.key(chat, seq)) ?? undefined;
    } catch {
      return undefined;
    }
  },
  set: (/** @type {string} */ chat, /** @type {number} */ seq, /** @type {string | undefined} */ text) => {
    try {
      if (text === undefined) sessionStorage.removeItem(unsaved.key(chat, seq));
      else sessionStorage.setItem(unsaved.key(chat, seq), text);
    } catch {}
  },
  /** Returns the positions of the messages of a chat that have one. */
  all: (/** @type {string} */ chat) => {
    try {
      const start = unsaved.key(chat, 0).slice(0, -1);
      return Object.keys(sessionStorage).filter((key) => key.startsWith(start)).map((key) => Number(key.slice(start.length)));
    } catch {
      return [];
    }
  },
};

/** Returns how many characters are left or too many, in words. Empty while plenty are left. */
export const counter = (/** @type {string} */ text) => {
  if (text.length + COUNTER_FROM <= LIMIT) return '';
  // without it, what is one character for a reader may count as several
  const count = typeof Intl.Segmenter === 'function' ? [...new Intl.Segmenter().segment(text.trimEnd())].length : [...text.trimEnd()].length;
  const left = LIMIT - count;
  if (left < 0) return `${-left} too many`;
  return left < COUNTER_FROM ? `${left} left` : '';
};

const make = (/** @type {string} */ tag, /** @type {Record<string, string>} */ attributes, /** @type {(Node | string)[]} */ ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

/** The message that is being edited. @type {{ seq: number, field: HTMLTextAreaElement, close: (focus?: boolean) => void } | undefined} */
let editing;

/** Begins to edit the message of these actions. `origin` has the focus again when that is done. */
const begin = (/** @type {Page} */ page, /** @type {HTMLElement} */ bar, /** @type {() => HTMLElement | null} */ origin) => {
  const seq = seqOf(bar);
  const row = /** @type {HTMLElement | null} */ (bar.closest('li'));
  const message = page.core.message(seq);
  if (!row || !message?.canEdit) return false;
  // another instance of the page has no form
  if (!editing?.field.isConnected) editing?.close(false);
  if (editing?.seq === seq) {
    editing.field.focus();
    return true;
  }
  // only one at a time; what was written is kept
  editing?.close(false);
  const { chat } = page;

  const problem = make('p', { role: 'alert', class: 'problem' });
  const field = /** @type {HTMLTextAreaElement} */ (make('textarea', { 'aria-label': 'Message', rows: '1', dir: 'auto', autocomplete: 'off', enterkeyhint: 'done' }));
  const left = make('span', { class: 'counter soft', 'aria-live': 'polite' });
  const box = make('div', { class: 'edit-field' }, field);
  const save = make('button', { class: 'primary' }, 'Save');
  const cancel = make('button', { type: 'button', class: 'quiet' }, 'Cancel');
  const form = /** @type {HTMLFormElement} */ (make('form', { class: 'edit-message' }, box, problem, make('div', { class: 'row' }, save, cancel, left)));

  const composer = /** @type {HTMLElement | null} */ (document.querySelector('.composer'));
  // The row goes with its message when that is too far from what is read, or has expired.
  const watcher = new MutationObserver(() => row.isConnected || close(false));
  const show = () => {
    // in browsers without `field-sizing`, this text stretches the field
    box.dataset.text = field.value;
    left.textContent = counter(field.value);
  };
  const close = (focus = true) => {
    if (editing?.field !== field) return;
    editing = undefined;
    watcher.disconnect();
    row.classList.remove('editing');
    form.remove();
    if (composer) composer.inert = false;
    if (focus) origin()?.focus({ preventScroll: true });
  };
  const drop = () => {
    unsaved.set(chat, seq, undefined);
    close();
  };

  let isSaving = false;
  const submit = async () => {
    if (isSaving) return;
    const text = field.value;
    if (text === message.text) return drop();
    isSaving = true;
    form.setAttribute('aria-busy', 'true');
    problem.textContent = '';
    try {
      await page.ask({ edit_message: { chat, message: seq, body: text } });
      // what was written meanwhile is not saved
      if (field.value === text) drop();
    } catch (error) {
      const sentence = /** @type {Error} */ (error).message;
      if (form.isConnected) problem.textContent = sentence;
      else page.tell(sentence);
    } finally {
      isSaving = false;
      form.removeAttribute('aria-busy');
    }
  };

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    void submit();
  });
  cancel.addEventListener('click', drop);
  field.addEventListener('input', () => {
    problem.textContent = '';
    unsaved.set(chat, seq, field.value === message.text ? undefined : field.value);
    show();
  });
  // the keys of the timeline are not those of a field in it
  form.addEventListener('keydown', (event) => {
    // during composition an input method has these keys for itself, as complete.js has while its list is open
    const isTaken = event.defaultPrevented || event.isComposing || event.keyCode === 229;
    if (!isTaken && event.key === 'Escape') {
      event.preventDefault();
      drop();
    } else if (!isTaken && event.key === 'Enter' && event.target === field && !event.shiftKey) {
      event.preventDefault();
      void submit();
    }
    event.stopPropagation();
  });

  field.value = unsaved.get(chat, seq) ?? message.text;
  show();
  editing = { seq, field, close };
  // one field to write in at a time; its place stays
  if (composer) composer.inert = true;
  row.classList.add('editing');
  row.append(form);
  watcher.observe(row.parentElement ?? document.body, { childList: true });
  field.focus({ preventScroll: true });
  field.setSelectionRange(field.value.length, field.value.length);
  form.scrollIntoView({ block: 'nearest' });
  return true;
};

/** Edits the message of these actions. */
export const open = (/** @type {Page} */ page, /** @type {HTMLElement} */ element) => {
  const bar = /** @type {HTMLElement} */ (element.closest('.actions') ?? element);
  const more = () => /** @type {HTMLElement | null} */ (bar.querySelector('[data-later=actions]'));
  if (!begin(page, bar, more)) page.tell('This message cannot be edited any more.');
};

/** Edits the last own message, from an empty composer. Does nothing while later messages are not loaded: it may be one of these. */
export const editLast = (/** @type {Page} */ page, /** @type {HTMLElement} */ field) => {
  if (page.core.has_later()) return false;
  const bars = /** @type {HTMLElement[]} */ ([...document.querySelectorAll('.message.own > .actions[data-seq]')]);
  const last = bars.reverse().find((bar) => page.core.message(seqOf(bar))?.canEdit);
  return !!last && begin(page, last, () => field);
};

/** Offers what was being edited before a reload again. If its message is not loaded, it is there when that is edited. */
export const resume = (/** @type {Page} */ page) => {
  const composer = () => /** @type {HTMLElement | null} */ (document.querySelector('.composer textarea'));
  unsaved.all(page.chat).map(barOf).some((bar) => bar && begin(page, bar, composer));
};
