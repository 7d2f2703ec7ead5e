// Search in a chat: a dialog with what its page without a script has. That page is fetched, so that there is one rendering.

/** @import { Page } from '../../later' */

/** The time without a keystroke after which a search begins, in milliseconds. */
const PAUSE_MILLIS = 300;
/** How many parts of the chat are searched by themselves while little is found. */
const PARTS = 5;
/** How many messages are enough. The server finds no more at once. */
const ENOUGH = 20;
const NO_CONNECTION = 'There is no connection just now, so this was not done. Try again when you are back.';
const ICON = 'M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14M16 16l4 4';

/** @typedef {{ search: string } | { mentions: '' }} Query */
/** @typedef {{ rows: HTMLElement[], next?: string, lookedTo?: string }} Part */

/** Creates an element. */
const create = (/** @type {string} */ name, /** @type {Record<string, string>} */ attributes, /** @type {(Node | string)[]} */ ...children) => {
  const element = document.createElement(name);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

/** Creates the icon of the field. */
const createIcon = () => {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  for (const [name, value] of Object.entries({ class: 'icon', viewBox: '0 0 24 24', width: '20', height: '20', 'aria-hidden': 'true' })) svg.setAttribute(name, value);
  const path = document.createElementNS(svg.namespaceURI, 'path');
  path.setAttribute('d', ICON);
  svg.append(path);
  return svg;
};

/** Returns a time by the reader's clock and, if it was not today, with the day. */
export const timeInWords = (/** @type {Date} */ at, now = new Date()) => {
  const clock = [at.getHours(), at.getMinutes()].map((number) => String(number).padStart(2, '0')).join(':');
  const dayOf = (/** @type {Date} */ time, before = 0) => new Date(time.getFullYear(), time.getMonth(), time.getDate() - before).getTime();
  if (dayOf(at) === dayOf(now)) return clock;
  if (dayOf(at) === dayOf(now, 1)) return `Yesterday, ${clock}`;
  return `${at.toLocaleDateString('en-GB', { day: 'numeric', month: 'long', year: 'numeric' })}, ${clock}`;
};

/** Shows the times in an element in the reader's time zone. */
const localize = (/** @type {Element} */ element) => {
  for (const time of element.querySelectorAll('time')) time.textContent = timeInWords(new Date(time.dateTime));
};

/** Says what was found so far. */
export const countInWords = (/** @type {number} */ count, /** @type {string | undefined} */ lookedTo) => {
  const found = count ? `${count} found` : 'Nothing found';
  return lookedTo ? `${found}, back to ${timeInWords(new Date(lookedTo))}` : found;
};

/** Nothing was searched. The message is a sentence for the reader. */
class Refused extends Error {}

/**
 * Fetches a part of what is found.
 * @returns {Promise<Part>}
 */
const fetchPart = async (/** @type {string} */ address, /** @type {Record<string, string>} */ query, /** @type {AbortSignal} */ signal) => {
  const response = await fetch(`${address}?${new URLSearchParams(query)}`, { headers: { Accept: 'text/html' }, signal });
  const html = new DOMParser().parseFromString(await response.text(), 'text/html');
  const problem = html.querySelector('[role=alert]')?.textContent?.trim();
  if (problem) throw new Refused(problem);
  if (!html.getElementById('found')) throw new Refused(NO_CONNECTION);
  const rows = [...html.querySelectorAll('.found > li')].map((row) => /** @type {HTMLElement} */ (document.importNode(row, true)));
  rows.forEach(localize);
  const before = /** @type {HTMLInputElement | null} */ (html.querySelector('#found [name=before]'));
  const lookedTo = /** @type {HTMLTimeElement | null} */ (html.querySelector('.found-count time'));
  return { rows, next: before?.value, lookedTo: lookedTo?.dateTime };
};

/** The dialog, once it was opened. It keeps what was found, to go on from there. */
class Search {
  /** @type {Page} */
  page;
  /** @type {HTMLInputElement} */
  field;
  /** @type {HTMLDialogElement} */
  dialog;
  /** @type {Query | undefined} What is shown, or being looked for. */
  query;
  /** @type {string | undefined} The position before which the search goes on. */
  next;
  /** @type {AbortController | undefined} */
  running;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  timer;

  constructor(/** @type {Page} */ page, /** @type {string} */ address) {
    this.page = page;
    /** The address of the chat. */
    this.address = address;
    this.field = /** @type {HTMLInputElement} */ (
      create('input', { type: 'search', 'aria-label': 'Search this chat', placeholder: 'Search this chat', autocomplete: 'off', enterkeyhint: 'search', dir: 'auto' })
    );
    this.mentions = create('a', { class: 'quiet', href: `${address}?mentions` }, 'My mentions');
    const close = create('button', { type: 'button', class: 'quiet' }, 'Close');
    this.problem = create('p', { class: 'problem', role: 'alert' });
    this.count = create('p', { class: 'found-count soft', role: 'status' });
    this.found = create('ol', { class: 'found', 'aria-label': 'Found' });
    this.further = create('button', { type: 'button', class: 'quiet' }, 'Look further back');
    this.further.hidden = true;
    const form = create('div', { class: 'search-form', role: 'search' }, create('div', { class: 'filter' }, createIcon(), this.field), this.mentions, close);
    this.dialog = /** @type {HTMLDialogElement} */ (
      create('dialog', { class: 'search', 'aria-label': 'Search' }, form, this.problem, this.count, this.found, create('p', { class: 'more' }, this.further))
    );
    this.field.addEventListener('input', (event) => {
      // text that is being composed is not used
      if (!(/** @type {InputEvent} */ (event).isComposing)) this.searchSoon();
    });
    this.field.addEventListener('compositionend', () => this.searchSoon());
    this.mentions.addEventListener('click', (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      event.preventDefault();
      this.field.value = '';
      void this.search({ mentions: '' });
    });
    close.addEventListener('click', () => this.dialog.close());
    this.further.addEventListener('click', () => void this.goOn());
    this.found.addEventListener('click', (event) => this.goTo(event));
    this.dialog.addEventListener('keydown', (event) => this.handleKey(event));
    page.closeBeside(this.dialog);
    document.body.append(this.dialog);
  }

  open() {
    if (!this.dialog.open) this.dialog.showModal();
    this.field.focus();
    this.field.select();
    this.current()?.scrollIntoView({ block: 'center' });
    // what was found before may have been removed since
    if (this.query) void this.search(this.query);
  }

  links() {
    return /** @type {HTMLElement[]} */ ([...this.found.querySelectorAll('.found-message')]);
  }

  /** Returns the message that was gone to last, if it is among those that were found. */
  current() {
    return this.links().find((link) => link.hasAttribute('aria-current'));
  }

  searchSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.searchWords(), PAUSE_MILLIS);
  }

  searchWords() {
    clearTimeout(this.timer);
    const search = this.field.value.trim();
    if (search) return this.search({ search });
    this.running?.abort();
    this.query = undefined;
    this.mentions.removeAttribute('aria-current');
    this.found.removeAttribute('aria-busy');
    this.problem.textContent = '';
    this.replace({ rows: [] });
    this.count.textContent = '';
  }

  /** Searches from the newest message on, and replaces what was found before. */
  async search(/** @type {Query} */ query) {
    clearTimeout(this.timer);
    if (JSON.stringify(query) !== JSON.stringify(this.query)) this.current()?.removeAttribute('aria-current');
    this.query = query;
    if ('mentions' in query) this.mentions.setAttribute('aria-current', 'true');
    else this.mentions.removeAttribute('aria-current');
    this.next = undefined;
    await this.goOn(true);
  }

  /** Searches further parts until there are some messages more, but not too many parts. */
  async goOn(isNew = false) {
    const { query } = this;
    if (!query) return;
    this.running?.abort();
    const running = (this.running = new AbortController());
    this.found.setAttribute('aria-busy', 'true');
    this.problem.textContent = '';
    try {
      let count = 0;
      for (let part = 0; part < PARTS && count < ENOUGH; part += 1) {
        /** @type {Record<string, string>} */
        const wanted = { ...query };
        if (this.next) wanted.before = this.next;
        const found = await fetchPart(this.address, wanted, running.signal);
        if (this.running !== running) return;
        if (isNew && !part) this.replace(found);
        else this.add(found);
        count += found.rows.length;
        if (!found.next) break;
      }
    } catch (error) {
      if (this.running !== running || running.signal.aborted) return;
      this.problem.textContent = error instanceof Refused ? error.message : NO_CONNECTION;
    }
    this.found.removeAttribute('aria-busy');
  }

  /** Shows what was found instead of what is shown. The message that has the focus keeps it, or the next older one gets it. */
  replace(/** @type {Part} */ part) {
    const { activeElement } = document;
    const focused = this.found.contains(activeElement) ? Number(/** @type {HTMLElement} */ (activeElement).dataset.seq) : undefined;
    const current = this.current()?.dataset.seq;
    this.found.replaceChildren();
    this.add(part);
    const links = this.links();
    if (current) links.find((link) => link.dataset.seq === current)?.setAttribute('aria-current', 'true');
    if (focused === undefined) return;
    (links.find((link) => Number(link.dataset.seq) <= focused) ?? this.field).focus();
  }

  add(/** @type {Part} */ { rows, next, lookedTo }) {
    const hadFocus = document.activeElement === this.further;
    this.found.append(...rows);
    this.next = next;
    this.further.hidden = !next;
    this.count.textContent = countInWords(this.found.children.length, next && lookedTo);
    if (hadFocus) (rows[0]?.querySelector('a') ?? (next ? this.further : this.field)).focus();
  }

  goTo(/** @type {MouseEvent} */ event) {
    const link = event.target instanceof Element ? event.target.closest('.found-message') : null;
    if (!(link instanceof HTMLElement) || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    this.current()?.removeAttribute('aria-current');
    link.setAttribute('aria-current', 'true');
    this.dialog.close();
    this.page.goTo(Number(link.dataset.seq));
  }

  handleKey(/** @type {KeyboardEvent} */ event) {
    // during composition an input method handles keys itself; Safari marks the key that ends it only by this code
    if (event.isComposing || event.keyCode === 229 || event.ctrlKey || event.metaKey || event.altKey) return;
    const links = this.links();
    const { activeElement } = document;
    const isInField = activeElement === this.field;
    // from the field the arrow leads on from where the reader was last
    const place = links.findIndex((link) => link === (isInField ? this.current() : activeElement));
    const further = this.further.hidden ? undefined : this.further;
    /** @type {HTMLElement | undefined} */
    let to;
    if (event.key === 'Escape') {
      // some browsers clear the field instead
      this.dialog.close();
    } else if (event.key === 'Enter' && isInField) {
      void this.searchWords();
    } else if (event.key === 'ArrowDown') {
      to = activeElement === this.further ? undefined : (links[place + 1] ?? further);
    } else if (event.key === 'ArrowUp' && !isInField) {
      to = activeElement === this.further ? links.at(-1) : (links[place - 1] ?? this.field);
    } else if (event.key === 'Home' && !isInField) {
      to = links[0];
    } else if (event.key === 'End' && !isInField) {
      to = links.at(-1);
    } else {
      return;
    }
    event.preventDefault();
    to?.focus();
  }
}

/** @type {Promise<unknown> | undefined} */
let style;
const loadStyle = (/** @type {Page} */ page) => {
  style ??= new Promise((resolve, reject) => {
    const link = Object.assign(document.createElement('link'), { rel: 'stylesheet', href: page.address('search.css') ?? '/later/search.css' });
    link.onload = resolve;
    link.onerror = () => {
      link.remove();
      style = undefined;
      reject(new Error('the stylesheet could not be loaded'));
    };
    document.head.append(link);
  });
  return style;
};

/** @type {Search | undefined} */
let search;

/** Opens the dialog. The element is the link to the page of the search. */
export const open = async (/** @type {Page} */ page, /** @type {HTMLElement} */ element) => {
  await loadStyle(page);
  search ??= new Search(page, new URL(/** @type {HTMLAnchorElement} */ (element).href).pathname);
  search.open();
};
