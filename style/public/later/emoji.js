// The picker of emoji. complete.js uses the emoji and the search as well.

/** @import { Page } from '../../later' */
/** @typedef {{ emoji: string, name: string, codes: string[], hasTones: boolean, version: number, words: string[] }} Emoji */
/** @typedef {{ name: string, emoji: Emoji[] }} Group */

/** The number of emoji in a row, as in later.css. */
export const COLUMNS = 8;
const RECENT_LIMIT = 16;
const FOUND_LIMIT = 120;
/** In `localStorage`: the emoji used last as JSON, and the number of the skin tone. */
const [RECENT, TONE] = ['emoji recent', 'emoji tone'];
const TONES = ['', '🏻', '🏼', '🏽', '🏾', '🏿'];
const TONE_NAMES = ['No skin tone', 'Light', 'Medium light', 'Medium', 'Medium dark', 'Dark'];

/** Returns a text in the form in which it is compared. */
export const fold = (/** @type {string} */ text) => text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();

const wordsOf = (/** @type {string} */ text) => fold(text).split(/[\s_:,.()“”’-]+/).filter(Boolean);

/** Reads emoji.txt, whose format engine/tests/emoji_table.rs describes. */
export const parse = (/** @type {string} */ table) => {
  /** @type {Group[]} */
  const groups = [];
  for (const line of table.split('\n')) {
    const [emoji = '', name, codes, notes = ''] = line.split('\t');
    if (!name) continue;
    if (emoji === '#') {
      groups.push({ name, emoji: [] });
      continue;
    }
    const known = codes ? codes.split(' ') : [name.replaceAll(' ', '_')];
    const words = [...new Set([name, ...known].flatMap(wordsOf))];
    const hasTones = notes.startsWith('*');
    groups.at(-1)?.emoji.push({ emoji, name, codes: known, hasTones, version: Number(notes.replace('*', '')), words });
  }
  return groups;
};

/** Returns an emoji in a skin tone: it follows the first character, in place of its variation selector, or each of two people. */
export const toned = (/** @type {string} */ emoji, /** @type {string} */ tone) => {
  const isPerson = (/** @type {string} */ character) => '👨👩🧑'.includes(character);
  const characters = [...emoji];
  if (!tone) return emoji;
  if (characters.filter(isPerson).length === 2) return characters.map((each) => (isPerson(each) ? each + tone : each)).join('');
  const [first, second, ...rest] = characters;
  return [first, tone, second === '\ufe0f' ? '' : second, ...rest].join('');
};

/** Returns how well an emoji fits a search: the less, the better. 9 if it does not. */
const rank = (/** @type {Emoji} */ { name, codes, words }, /** @type {string} */ query, /** @type {string[]} */ terms) => {
  const begins = (/** @type {string} */ text) => text.startsWith(query);
  if (codes.includes(query.replaceAll(' ', '_'))) return 0;
  if (terms.every((term) => words.some((word) => word.startsWith(term)))) return begins(fold(name)) || codes.some(begins) ? 1 : 2;
  return terms.every((term) => words.some((word) => word.includes(term))) ? 3 : 9;
};

/** Returns the emoji that fit a search, the best first, then in the order of Unicode. None if nothing is searched. */
export const find = (/** @type {Group[]} */ groups, /** @type {string} */ search, /** @type {number} */ limit) => {
  const query = fold(search).trim();
  const terms = wordsOf(search);
  if (!terms.length) return [];
  const ranked = groups.flatMap(({ emoji }) => emoji).map((each) => ({ each, fit: rank(each, query, terms) }));
  const found = ranked.filter(({ fit }) => fit < 9).sort((one, other) => one.fit - other.fit);
  return found.slice(0, limit).map(({ each }) => each);
};

/** Returns where a key leads from an emoji: its group and its place in it. `null` for the search above the first row. */
export const step = (/** @type {number[]} */ sizes, /** @type {[number, number]} */ [group, place], /** @type {string} */ key, columns = COLUMNS) => {
  const sizeOf = (/** @type {number} */ group) => sizes[group] ?? 0;
  const lastRow = (/** @type {number} */ group) => Math.floor((sizeOf(group) - 1) / columns);
  const [row, column] = [Math.floor(place / columns), place % columns];
  /** @returns {[number, number]} */
  const at = (/** @type {number} */ group, /** @type {number} */ place) => [group, Math.max(0, Math.min(place, sizeOf(group) - 1))];
  const [first, last] = [sizes.findIndex(Boolean), sizes.findLastIndex(Boolean)];
  const next = (/** @type {number} */ by) => {
    let other = group + by;
    while (other >= 0 && other < sizes.length && !sizeOf(other)) other += by;
    return other;
  };
  switch (key) {
    case 'ArrowLeft':
      return place ? at(group, place - 1) : group === first ? at(group, place) : at(next(-1), Infinity);
    case 'ArrowRight':
      return place < sizeOf(group) - 1 ? at(group, place + 1) : group === last ? at(group, place) : at(next(1), 0);
    case 'ArrowUp':
      if (row) return at(group, place - columns);
      return group === first ? null : at(next(-1), lastRow(next(-1)) * columns + column);
    case 'ArrowDown':
      if (row < lastRow(group)) return at(group, place + columns);
      return group === last ? at(group, place) : at(next(1), column);
    case 'PageUp':
      return at(group === first ? first : next(-1), 0);
    case 'PageDown':
      return at(group === last ? last : next(1), 0);
    case 'Home':
      return at(first, 0);
    case 'End':
      return at(last, Infinity);
    default:
      return undefined;
  }
};

const stored = (/** @type {string} */ key) => {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
};
const store = (/** @type {string} */ key, /** @type {string} */ value) => {
  try {
    localStorage.setItem(key, value);
  } catch {}
};

/** @returns {string[]} */
const recent = () => {
  try {
    const list = JSON.parse(stored(RECENT) ?? '[]');
    return Array.isArray(list) ? list.filter((each) => typeof each === 'string').slice(0, RECENT_LIMIT) : [];
  } catch {
    return [];
  }
};

/** Remembers an emoji as the one that was used last. */
export const remember = (/** @type {string} */ emoji) => {
  store(RECENT, JSON.stringify([emoji, ...recent().filter((each) => each !== emoji)].slice(0, RECENT_LIMIT)));
};

/** Returns the skin tone that the user has chosen. Empty if none. */
export const tone = () => TONES[Number(stored(TONE))] ?? '';

/** Returns whether this device shows emoji of a version, told by one of them: it is a single glyph, and has colours. */
const createShowing = () => {
  const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const isColoured = (/** @type {string} */ emoji) => {
    if (!context) return false;
    context.clearRect(0, 0, 32, 32);
    context.font = '20px sans-serif';
    context.fillText(emoji, 2, 24);
    const { data } = context.getImageData(0, 0, 32, 32);
    for (let place = 0; place < data.length; place += 4) {
      if (data[place] !== data[place + 1] || data[place] !== data[place + 2]) return true;
    }
    return false;
  };
  const width = (/** @type {string} */ emoji) => context?.measureText(emoji).width ?? 0;
  const canTell = isColoured('😀');
  /** @type {Map<number, boolean>} */
  const known = new Map();
  return (/** @type {Emoji} */ { emoji, version }) => {
    if (!version || !canTell) return true;
    const isShown = known.get(version) ?? (isColoured(emoji) && width(emoji) < 1.5 * width('😀'));
    known.set(version, isShown);
    return isShown;
  };
};

/** @type {Promise<Group[]> | undefined} */
let table;
/** Loads the emoji that this device can show, by their groups. */
export const load = (/** @type {Page} */ page) => {
  table ??= (async () => {
    const response = await fetch(page.address('emoji.txt') ?? '/emoji.txt');
    if (!response.ok) throw new Error(`emoji.txt: ${response.status}`);
    const isShown = createShowing();
    return parse(await response.text()).map(({ name, emoji }) => ({ name, emoji: emoji.filter(isShown) }));
  })();
  table.catch(() => (table = undefined));
  return table;
};

const make = (/** @type {string} */ tag, /** @type {Record<string, string>} */ attributes = {}, /** @type {(Node | string)[]} */ ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

/** The picker. There is one, which is filled once. */
class Picker {
  /** @type {(emoji: string) => void} Called with the emoji that is chosen. */
  choose = () => {};
  /** @type {Group[]} */
  groups = [];
  /** The sections that are shown, each with its emoji and their buttons. @type {{ section: HTMLElement, emoji: Emoji[], buttons: HTMLButtonElement[] }[]} */
  shown = [];
  recent = this.section('Used lately');
  found = this.section('Found');
  search = /** @type {HTMLInputElement} */ (make('input', { type: 'search', 'aria-label': 'Search emoji', placeholder: 'Search emoji', autocomplete: 'off', spellcheck: 'false' }));
  status = make('p', { role: 'status', class: 'emoji-status soft' });
  all = make('div');
  // gets the focus on a phone, where the search would open a keyboard over the emoji
  scroller = make('div', { class: 'emoji-scroller', tabindex: '-1', autofocus: '' }, this.found.section, this.recent.section, this.all);
  about = make('p', { class: 'emoji-about soft', 'aria-hidden': 'true' });
  tones = make('div', { class: 'emoji-tones', role: 'radiogroup', 'aria-label': 'Skin tone' });
  dialog = /** @type {HTMLDialogElement} */ (
    make('dialog', { class: 'emoji-picker floating', 'aria-label': 'Emoji' }, this.search, this.status, this.scroller, make('div', { class: 'emoji-foot' }, this.about, this.tones))
  );

  constructor() {
    this.search.addEventListener('input', () => this.showFound());
    this.dialog.addEventListener('keydown', (event) => this.handleKey(event));
    this.dialog.addEventListener('click', (event) => this.handleClick(event));
    for (const type of ['focusin', 'pointerover']) {
      this.dialog.addEventListener(type, ({ target }) => {
        const emoji = this.at(target)?.emoji;
        this.about.textContent = emoji ? `${emoji.name} :${emoji.codes[0]}:` : '';
      });
    }
    TONES.forEach((modifier, place) => {
      const name = TONE_NAMES[place] ?? '';
      this.tones.append(make('button', { type: 'button', role: 'radio', 'aria-label': name, title: name }, `✋${modifier}`));
    });
    this.showTone();
  }

  section(/** @type {string} */ name, /** @type {Emoji[]} */ emoji = []) {
    const grid = make('div', { class: 'emoji-grid' });
    const shown = { section: make('section', { 'aria-label': name }, make('h2', {}, name), grid), emoji, buttons: /** @type {HTMLButtonElement[]} */ ([]) };
    this.fill(shown, emoji);
    return shown;
  }

  fill(/** @type {Picker['shown'][number]} */ shown, /** @type {Emoji[]} */ emoji) {
    shown.emoji = emoji;
    shown.buttons = emoji.map((each) => {
      const text = each.hasTones ? toned(each.emoji, tone()) : each.emoji;
      return /** @type {HTMLButtonElement} */ (make('button', { type: 'button', tabindex: '-1', 'aria-label': each.name }, text));
    });
    shown.section.lastElementChild?.replaceChildren(...shown.buttons);
    shown.section.hidden = !emoji.length;
  }

  /** Returns where an emoji is, by its button. */
  at(/** @type {EventTarget | null} */ target) {
    const button = target instanceof Element && target.closest('.emoji-grid button');
    for (const [group, { buttons, emoji }] of this.shown.entries()) {
      const place = button ? buttons.indexOf(/** @type {HTMLButtonElement} */ (button)) : -1;
      const found = emoji[place];
      if (found) return { group, place, emoji: found };
    }
    return undefined;
  }

  open(/** @type {Page} */ page, /** @type {HTMLElement} */ anchor) {
    this.search.value = '';
    this.status.textContent = '';
    this.showRecent();
    this.showFound();
    page.show(this.dialog, anchor);
    if (matchMedia('(hover: hover)').matches) this.search.focus();
  }

  /** Shows the emoji once they are loaded. One group after the other, so that a slow phone can be typed on in between. */
  async show(/** @type {Group[]} */ groups) {
    if (this.groups.length) return;
    this.groups = groups;
    this.status.textContent = '';
    this.showRecent();
    this.showFound();
    for (const { name, emoji } of groups) {
      const shown = this.section(name, emoji);
      this.all.append(shown.section);
      this.shown.push(shown);
      if (!this.scroller.querySelector('[tabindex="0"]')) this.setStop();
      await new Promise((resolve) => setTimeout(resolve));
    }
  }

  showRecent() {
    const all = this.groups.flatMap(({ emoji }) => emoji);
    const known = (/** @type {string} */ text) => {
      const found = all.find(({ emoji, hasTones }) => emoji === text || (hasTones && TONES.some((modifier) => toned(emoji, modifier) === text)));
      return found ? [{ ...found, emoji: text, hasTones: false }] : [];
    };
    this.fill(this.recent, recent().flatMap(known));
    if (!this.shown.includes(this.recent)) this.shown.unshift(this.found, this.recent);
    this.setStop();
  }

  showFound() {
    const query = this.search.value.trim();
    const found = find(this.groups, query, FOUND_LIMIT);
    this.fill(this.found, found);
    this.all.hidden = !!query;
    this.recent.section.hidden = !!query || !this.recent.emoji.length;
    if (query && this.groups.length) this.status.textContent = found.length ? `${found.length} found` : 'No emoji has this name.';
    else if (this.groups.length) this.status.textContent = '';
    this.scroller.scrollTop = 0;
    this.setStop();
  }

  /** Returns the number of emoji in each section; none in those that are hidden. */
  sizes() {
    return this.shown.map(({ section, emoji }) => (section.hidden || section.parentElement?.hidden ? 0 : emoji.length));
  }

  /** Makes one emoji the tab stop: the first, or the one that a key led to. */
  setStop(/** @type {[number, number]} */ [group, place] = [this.sizes().findIndex(Boolean), 0]) {
    for (const button of this.scroller.querySelectorAll('[tabindex="0"]')) button.setAttribute('tabindex', '-1');
    const button = this.shown[group]?.buttons[place];
    button?.setAttribute('tabindex', '0');
    return button;
  }

  showTone() {
    const chosen = TONES.indexOf(tone());
    [...this.tones.children].forEach((button, place) => {
      button.setAttribute('aria-checked', String(place === chosen));
      button.setAttribute('tabindex', place === chosen ? '0' : '-1');
    });
    for (const { emoji, buttons } of this.shown) {
      emoji.forEach(({ emoji, hasTones }, place) => {
        const button = buttons[place];
        if (hasTones && button) button.textContent = toned(emoji, tone());
      });
    }
  }

  setTone(/** @type {number} */ place) {
    store(TONE, String(place));
    this.showTone();
    /** @type {HTMLElement} */ (this.tones.children[place]).focus();
  }

  handleKey(/** @type {KeyboardEvent} */ event) {
    const { key, target } = event;
    if (event.isComposing || event.keyCode === 229 || event.ctrlKey || event.metaKey || event.altKey) return;
    const place = this.at(target);
    const toneAt = [...this.tones.children].indexOf(/** @type {Element} */ (target));
    if (key === 'Escape') {
      // some browsers clear the field instead
      this.dialog.close();
    } else if (target === this.search) {
      const first = this.setStop();
      if (key === 'ArrowDown') first?.focus();
      else if (key === 'Enter' && this.search.value.trim()) first?.click();
      else return;
    } else if (place) {
      const next = step(this.sizes(), [place.group, place.place], key);
      if (next) this.setStop(next)?.focus();
      else if (next === null) this.search.focus();
      else {
        // what is typed on an emoji is searched
        if (key.length === 1 && key !== ' ') this.search.focus();
        return;
      }
    } else if (toneAt >= 0 && ['ArrowLeft', 'ArrowUp', 'ArrowRight', 'ArrowDown'].includes(key)) {
      const by = key === 'ArrowLeft' || key === 'ArrowUp' ? TONES.length - 1 : 1;
      this.setTone((toneAt + by) % TONES.length);
    } else {
      return;
    }
    event.preventDefault();
  }

  handleClick(/** @type {MouseEvent} */ { target }) {
    const place = this.at(target);
    const toneAt = [...this.tones.children].indexOf(/** @type {Element} */ (target));
    if (place) {
      const { emoji, hasTones } = place.emoji;
      const chosen = hasTones ? toned(emoji, tone()) : emoji;
      remember(chosen);
      this.dialog.close();
      this.choose(chosen);
    } else if (toneAt >= 0) {
      this.setTone(toneAt);
    }
  }
}

/** @type {Picker | undefined} */
let picker;

/** Opens the picker for the message around an element, and reacts with what is chosen. */
export const open = async (/** @type {Page} */ page, /** @type {HTMLElement} */ element) => {
  picker ??= new Picker();
  const { dialog, status } = picker;
  if (dialog.open) return;
  const message = Number(/** @type {HTMLElement | null} */ (element.closest('[data-seq]'))?.dataset.seq);
  picker.choose = async (emoji) => {
    element.focus({ preventScroll: true });
    try {
      const at = await page.ask({ react: { chat: page.chat, message, emoji, is_on: true } });
      page.core.reacted?.(message, emoji, true, at);
    } catch (error) {
      page.tell(/** @type {Error} */ (error).message);
    }
  };
  picker.open(page, element);
  if (!picker.groups.length) status.textContent = 'Loading the emoji';
  try {
    await picker.show(await load(page));
  } catch {
    status.textContent = 'The emoji could not be loaded. Close this, and try again in a moment.';
  }
};
