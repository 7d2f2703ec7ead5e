// The dialog that shows a picture on its own, and those before and after it. Loaded when the first one is opened.

/** @import { Page } from '../../later' */

const GONE = 'This picture is not there any more.';

/** @type {HTMLDialogElement | undefined} */
let dialog;
/** @type {HTMLImageElement} */
let image;
/** @type {HTMLElement} */
let caption;
/** @type {HTMLAnchorElement} */
let original;
/** @type {Record<'previous' | 'next' | 'size' | 'close', HTMLButtonElement>} */
let buttons;
/** @type {HTMLAnchorElement | undefined} The picture in its message. */
let current;

const pictures = () => /** @type {HTMLAnchorElement[]} */ ([...document.querySelectorAll('[role=log] a.picture')]);

/** Shows the picture that a link leads to. */
export const open = (/** @type {Page} */ _, /** @type {HTMLElement} */ element) => {
  dialog ??= build();
  dialog.showModal();
  show(/** @type {HTMLAnchorElement} */ (element));
  buttons.close.focus();
};

/**
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Record<string, unknown>} [values]
 * @param {Node[]} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
const make = (name, values = {}, ...children) => {
  const element = Object.assign(document.createElement(name), values);
  element.append(...children);
  return element;
};

const build = () => {
  image = make('img', { className: 'viewed' });
  caption = make('p', { className: 'viewer-caption', dir: 'auto' });
  caption.setAttribute('role', 'status');
  original = make('a', { textContent: 'Open original', target: '_blank' });
  const button = (/** @type {string} */ name, /** @type {string} */ sign, /** @type {() => void} */ act) => {
    const made = make('button', { type: 'button', className: 'quiet', textContent: sign, title: name, onclick: act });
    made.ariaLabel = name;
    return made;
  };
  buttons = {
    previous: button('Previous picture', '‹', () => step(-1)),
    next: button('Next picture', '›', () => step(1)),
    size: button('Full size', '+', () => setFull(!isFull())),
    close: button('Close', '×', () => dialog?.close()),
  };
  const bar = make('div', { className: 'viewer-bar' }, buttons.previous, buttons.next, buttons.size, original, buttons.close);
  const built = make('dialog', { className: 'viewer' }, bar, make('div', { className: 'viewer-room' }, image), caption);
  built.ariaLabel = 'Picture';
  built.addEventListener('keydown', handleKey);
  // Beside the picture
  built.addEventListener('click', ({ target }) => target instanceof Element && target.matches('.viewer, .viewer-room') && built.close());
  built.addEventListener('close', () => {
    image.removeAttribute('src');
    const last = current;
    current = undefined;
    last?.focus();
  });
  image.addEventListener('error', () => {
    if (current) caption.textContent = GONE;
  });
  document.body.append(built);
  // A picture that is removed meanwhile is shown no longer.
  const log = document.querySelector('[role=log]');
  if (log) new MutationObserver(() => current && !current.isConnected && built.close()).observe(log, { childList: true, subtree: true });
  return built;
};

const isFull = () => image.classList.contains('full');
const setFull = (/** @type {boolean} */ full) => {
  image.classList.toggle('full', full);
  buttons.size.textContent = full ? '−' : '+';
  buttons.size.ariaLabel = buttons.size.title = full ? 'Fit to the window' : 'Full size';
};

const show = (/** @type {HTMLAnchorElement} */ link) => {
  current = link;
  const small = link.querySelector('img');
  setFull(false);
  image.alt = small?.alt ?? '';
  image.src = original.href = link.href;
  caption.textContent = image.alt;
  const [all, at] = [pictures(), pictures().indexOf(link)];
  buttons.previous.disabled = at <= 0;
  buttons.next.disabled = at + 1 >= all.length;
};

const step = (/** @type {number} */ by) => {
  const all = pictures();
  const link = current && all[all.indexOf(current) + by];
  if (!link) return;
  link.scrollIntoView({ block: 'nearest' });
  show(link);
  // A button that is disabled loses the focus, and with it the keys.
  if (document.activeElement instanceof HTMLButtonElement && document.activeElement.disabled) buttons.close.focus();
};

const handleKey = (/** @type {KeyboardEvent} */ event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isRightToLeft = getComputedStyle(document.body).direction === 'rtl';
  if (event.key === 'ArrowLeft') step(isRightToLeft ? 1 : -1);
  else if (event.key === 'ArrowRight') step(isRightToLeft ? -1 : 1);
  else if (event.key === '+') setFull(true);
  else if (event.key === '-') setFull(false);
  else return;
  event.preventDefault();
  event.stopPropagation();
};
