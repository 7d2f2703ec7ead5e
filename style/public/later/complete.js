// Completes what is being written: `@` and a name, `:` and the name of an emoji, `/` and a command.
//
// The field keeps its role: a screen reader that is told of another one in the middle of a word reads the field anew. What
// can be chosen is announced by a status, and read as it is moved to.

/** @import { Page, Person } from '../../later' */
/** @typedef {{ kind: '@' | ':' | '/', from: number, query: string }} Wanted What is being completed: from its sign on, and without it. */
/** @typedef {{ text: string, about: string, insert: string, isExact: boolean, chosen?: () => void }} Option */
/** @typedef {{ find: Function, load: (page: Page) => Promise<any>, toned: (emoji: string, tone: string) => string, tone: () => string, remember: (emoji: string) => void }} Emoji */

const LIMIT = 8;
const COMMANDS = [
  { text: '/nick NAME', about: 'Change your nickname', insert: '/nick ' },
  { text: '/me WHAT', about: 'Say what you do', insert: '/me ' },
  { text: '/help', about: 'Show the commands', insert: '/help' },
  { text: '//', about: 'Begin a message with a slash', insert: '//' },
];
const LABELS = { '@': 'People', ':': 'Emoji', '/': 'Commands' };

/** Returns a text in the form in which it is compared. */
const fold = (/** @type {string} */ text) => text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();

/** Whether what is written after this text is code. */
const isInCode = (/** @type {string} */ before) => {
  const lines = before.split('\n');
  const fences = lines.slice(0, -1).filter((line) => /^\s*(```|~~~)/.test(line)).length;
  const ticks = (lines.at(-1) ?? '').split('`').length - 1;
  return fences % 2 === 1 || ticks % 2 === 1;
};

/**
 * Returns what can be completed in a text, at a place in it.
 * @returns {Wanted | null}
 */
export const wantedAt = (/** @type {string} */ text, /** @type {number} */ place) => {
  const before = text.slice(0, place);
  if (/^\/\w*$/.test(before) && /^(\s|$)/.test(text.slice(place))) return { kind: '/', from: 0, query: before.slice(1) };
  const found = /(?:^|[\s(])(@)((?:[^\s@][^\n@]{0,39})?)$/.exec(before) ?? /(?:^|[^\p{L}\p{N}:/])(:)([\p{L}\p{N}_+-]{2,40})$/u.exec(before);
  if (!found || isInCode(before)) return null;
  const [, kind, query = ''] = found;
  return { kind: kind === '@' ? '@' : ':', from: place - query.length - 1, query };
};

/** Returns the name of an emoji that was written in full, between colons, and where it begins. */
export const namedAt = (/** @type {string} */ text, /** @type {number} */ place) => {
  const before = text.slice(0, place);
  const found = /(?:^|[^\p{L}\p{N}:/]):([\p{L}\p{N}_+-]{2,40}):$/u.exec(before);
  return found?.[1] && !isInCode(before) ? { from: place - found[1].length - 2, name: found[1] } : null;
};

/** Returns the people whose names fit, those who are here first. */
export const fitting = (/** @type {Person[]} */ people, /** @type {string} */ search) => {
  const query = fold(search);
  const rank = (/** @type {string} */ name) => {
    const folded = fold(name);
    if (folded.startsWith(query)) return 0;
    // after a space, what was written is rather the next word than another part of a name
    if (query.includes(' ')) return 9;
    return folded.split(/\s+/).some((word) => word.startsWith(query)) ? 1 : folded.includes(query) ? 2 : 9;
  };
  const ranked = people.map((person) => ({ person, fit: rank(person.name) })).filter(({ fit }) => fit < 9);
  ranked.sort((one, other) => one.fit - other.fit || Number(other.person.isHere) - Number(one.person.isHere) || one.person.name.localeCompare(other.person.name));
  return ranked.slice(0, LIMIT).map(({ person }) => person);
};

/** Returns what can be chosen. @returns {Promise<Option[]>} */
const optionsFor = async (/** @type {Page} */ page, /** @type {Wanted} */ { kind, query }) => {
  if (kind === '/') {
    const fits = COMMANDS.filter(({ insert }) => insert.startsWith(`/${query}`));
    return fits.map((command) => ({ ...command, isExact: command.insert.trim() === `/${query}` }));
  }
  if (kind === '@') {
    return fitting(page.core.people(), query).map(({ id, name, isHere }) => ({
      text: name,
      about: isHere ? '' : 'not here now',
      insert: `@${name} `,
      isExact: fold(name) === fold(query),
      chosen: () => page.core.mention(id, name),
    }));
  }
  const emoji = /** @type {Emoji} */ (/** @type {unknown} */ (await page.load('emoji')));
  return emoji.find(await emoji.load(page), query, LIMIT).map((/** @type {{ emoji: string, codes: string[], hasTones: boolean }} */ each) => {
    const text = each.hasTones ? emoji.toned(each.emoji, emoji.tone()) : each.emoji;
    return { text, about: `:${each.codes[0]}:`, insert: `${text} `, isExact: false, chosen: () => emoji.remember(text) };
  });
};

/** Replaces a part of the text, as if it were typed, so that the browser can undo it. */
const replace = (/** @type {HTMLTextAreaElement} */ field, /** @type {number} */ from, /** @type {number} */ to, /** @type {string} */ text) => {
  field.setSelectionRange(from, to);
  if (document.execCommand('insertText', false, text)) return;
  field.setRangeText(text, from, to, 'end');
  field.dispatchEvent(new InputEvent('input', { bubbles: true }));
};

/** The list while it is open. @type {{ field: HTMLTextAreaElement, wanted: Wanted, to: number, options: Option[], selected: number, isMoved: boolean } | null} */
let list = null;
/** The number of the newest change: what was looked for before is not shown any more. */
let newest = 0;
/** Whether the list itself is changing the text, and what the text was after that. */
let isReplacing = false;
let settled = '';

const make = (/** @type {string} */ tag, /** @type {Record<string, string>} */ attributes, /** @type {(Node | string)[]} */ ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

/** @type {HTMLElement | undefined} */
let box;
/** @type {HTMLElement} */
let listbox;
/** @type {HTMLElement} */
let status;

const createBox = () => {
  listbox = make('ul', { role: 'listbox', id: 'suggestions' });
  status = make('p', { role: 'status', class: 'hidden' });
  box = make('section', { class: 'suggestions floating', 'aria-label': 'Suggestions' }, listbox, status);
  // the field keeps the focus
  box.addEventListener('pointerdown', (event) => event.preventDefault());
  box.addEventListener('click', ({ target }) => {
    const place = target instanceof Element ? [...listbox.children].indexOf(/** @type {Element} */ (target.closest('li'))) : -1;
    if (place >= 0) accept(place);
  });
  addEventListener('keydown', handleKey, true);
  addEventListener('focusout', ({ target }) => target === list?.field && close(), true);
  document.addEventListener('selectionchange', () => {
    if (!list || isReplacing) return;
    const { value, selectionStart, selectionEnd } = list.field;
    if (selectionStart !== selectionEnd || wantedAt(value, selectionStart)?.from !== list.wanted.from) close();
  });
};

const select = (/** @type {number} */ place) => {
  if (!list) return;
  list.selected = place;
  [...listbox.children].forEach((option, index) => option.setAttribute('aria-selected', String(index === place)));
  listbox.children[place]?.scrollIntoView({ block: 'nearest' });
  if (place >= 0) list.field.setAttribute('aria-activedescendant', `suggestion-${place}`);
  else list.field.removeAttribute('aria-activedescendant');
};

const show = (/** @type {HTMLTextAreaElement} */ field, /** @type {Wanted} */ wanted, /** @type {number} */ to, /** @type {Option[]} */ options) => {
  if (!box) createBox();
  const label = LABELS[wanted.kind];
  list = { field, wanted, to, options, selected: -1, isMoved: false };
  listbox.setAttribute('aria-label', label);
  listbox.replaceChildren(
    ...options.map(({ text, about }, place) => make('li', { role: 'option', id: `suggestion-${place}` }, make('span', { dir: 'auto', translate: 'no' }, text), ' ', make('span', { class: 'soft' }, about))),
  );
  const count = options.length === 1 ? 'One suggestion' : `${options.length} suggestions`;
  status.textContent = `${label}: ${count}. Choose by the arrow keys and Enter.`;
  for (const [name, value] of Object.entries({ 'aria-autocomplete': 'list', 'aria-controls': 'suggestions' })) field.setAttribute(name, value);
  if (box) {
    box.hidden = false;
    // above the field, which may be another one by now
    if (box.previousSibling !== field) field.after(box);
  }
  // a sign alone may be all that somebody wants to write
  select(wanted.query ? 0 : -1);
};

const close = () => {
  newest += 1;
  if (!list || !box) return;
  for (const name of ['aria-autocomplete', 'aria-controls', 'aria-activedescendant']) list.field.removeAttribute(name);
  list = null;
  box.hidden = true;
  status.textContent = '';
};

const accept = (/** @type {number} */ place) => {
  const option = list?.options[place];
  if (!list || !option) return;
  const { field, wanted, to } = list;
  close();
  const hasSpace = field.value[to] === ' ' && option.insert.endsWith(' ');
  option.chosen?.();
  isReplacing = true;
  try {
    replace(field, wanted.from, hasSpace ? to + 1 : to, option.insert);
  } finally {
    isReplacing = false;
    // a name that was chosen is not the beginning of a longer one
    settled = field.value;
  }
};

const handleKey = (/** @type {KeyboardEvent} */ event) => {
  if (!list || event.target !== list.field || event.isComposing || event.keyCode === 229 || event.ctrlKey || event.metaKey || event.altKey) return;
  const { options, selected, isMoved } = list;
  const count = options.length;
  switch (event.key) {
    case 'ArrowDown':
    case 'ArrowUp':
      list.isMoved = true;
      select(event.key === 'ArrowDown' ? (selected + 1) % count : (selected <= 0 ? count : selected) - 1);
      break;
    case 'Enter':
    case 'Tab': {
      const option = options[selected];
      if (event.shiftKey || !option) return close();
      if (option.isExact && !isMoved && event.key === 'Enter') {
        // it is written in full: there is nothing to complete, and Enter sends it
        if (options.filter(({ isExact }) => isExact).length === 1) option.chosen?.();
        return close();
      }
      accept(selected);
      break;
    }
    case 'Escape':
      close();
      break;
    default:
      return;
  }
  event.preventDefault();
  event.stopPropagation();
};

/** Replaces the name of an emoji that was written in full. Returns whether there was one. */
const replaceNamed = async (/** @type {Page} */ page, /** @type {HTMLTextAreaElement} */ field) => {
  const { value, selectionStart: to } = field;
  const named = namedAt(value, to);
  if (!named) return false;
  const emoji = /** @type {Emoji} */ (/** @type {unknown} */ (await page.load('emoji')));
  const [found] = emoji.find(await emoji.load(page), named.name, 1);
  if (!found?.codes.includes(fold(named.name)) || field.value !== value || field.selectionStart !== to || document.activeElement !== field) return false;
  const text = found.hasTones ? emoji.toned(found.emoji, emoji.tone()) : found.emoji;
  emoji.remember(text);
  replace(field, named.from, to, text);
  return true;
};

/** Offers what the text of a field may become, after it has changed. */
export const update = async (/** @type {Page} */ page, /** @type {HTMLTextAreaElement} */ field) => {
  newest += 1;
  const mine = newest;
  const { value, selectionStart: place, selectionEnd } = field;
  const found = place === selectionEnd && value !== settled ? wantedAt(value, place) : null;
  // a message that is edited is no command any more
  const wanted = found?.kind === '/' && !field.closest('.composer') ? null : found;
  if (!wanted) {
    close();
    await replaceNamed(page, field);
    return;
  }
  const options = await optionsFor(page, wanted);
  if (mine !== newest || field.value !== value || field.selectionStart !== place || document.activeElement !== field) return;
  if (options.length) show(field, wanted, place, options);
  else close();
};
