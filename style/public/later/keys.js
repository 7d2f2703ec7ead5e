// Shows all keys, and lets the reader switch off those that are single characters: dictation types them by mistake.

/** @import { Page } from '../../later' */

/** In `localStorage`, as in later.js. */
const NO_LETTER_KEYS = 'no letter keys';

const SHIFT_ENTER = 'Shift+Enter';
/** The keys by where they act, each with what it does. Those of one line do similar things. @type {[string, [string[], string][]][]} */
export const KEYS = [
  [
    'While writing',
    [
      [['Enter'], 'Send'],
      [[SHIFT_ENTER], 'Begin a new line'],
      [['↑'], 'Edit your last message, if nothing is written'],
      [['@'], 'Mention someone'],
      [[':'], 'Find an emoji by its name'],
      [['/'], 'Choose a command'],
      [['Ctrl+Z'], 'Bring back what was sent last, if nothing is written'],
      [['Esc'], 'Close what is open, or cancel the reply'],
    ],
  ],
  [
    'On a message',
    [
      [['Tab'], 'Go to the messages'],
      [['↑', '↓', 'Home', 'End'], 'Go to another message'],
      [['←', '→'], 'Go to another action'],
      [['R'], 'Reply'],
      [['+'], 'React'],
      [['E'], 'Edit your message'],
      [['C'], 'Copy the link to it'],
      [['Delete'], 'Remove it'],
    ],
  ],
  [
    'On a picture that is shown large',
    [
      [['←', '→'], 'Show another picture'],
      [['+', '-'], 'Show it in full size, or whole'],
    ],
  ],
  [
    'While searching',
    [
      [['↑', '↓', 'Home', 'End'], 'Go to another message that was found'],
      [['Enter'], 'Show it where it was said'],
    ],
  ],
  [
    'Anywhere else',
    [
      [['/'], 'Search this chat'],
      [['?'], 'Show these keys'],
    ],
  ],
];

const make = (/** @type {string} */ tag, /** @type {Record<string, string>} */ attributes, /** @type {(Node | string)[]} */ ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

const createSwitch = () => {
  const box = /** @type {HTMLInputElement} */ (make('input', { type: 'checkbox', id: 'letter-keys' }));
  box.addEventListener('change', () => {
    try {
      if (box.checked) localStorage.removeItem(NO_LETTER_KEYS);
      else localStorage.setItem(NO_LETTER_KEYS, '1');
    } catch {}
  });
  const label = make('label', { for: 'letter-keys' }, 'Keys that are single characters act outside of the field');
  return { box, row: make('p', { class: 'tick' }, box, label) };
};

const create = (/** @type {Page} */ page) => {
  const { box, row } = createSwitch();
  const close = make('button', { type: 'button', class: 'quiet' }, 'Close');
  const sections = KEYS.map(([where, keys], place) => {
    const rows = keys.flatMap(([names, does]) => [make('dt', {}, ...names.flatMap((name) => [make('kbd', {}, name), ' '])), make('dd', {}, does)]);
    const id = `keys-${place}`;
    return make('section', { 'aria-labelledby': id }, make('h2', { id }, where), make('dl', {}, ...rows));
  });
  const dialog = /** @type {HTMLDialogElement} */ (make('dialog', { class: 'keys', 'aria-label': 'Keys' }, ...sections, row, close));
  close.addEventListener('click', () => dialog.close());
  // the press that follows a touch of the key is for the dialog
  dialog.addEventListener('keydown', (event) => event.key === '?' && dialog.close());
  page.closeBeside(dialog);
  document.body.append(dialog);
  return { dialog, box, close };
};

/** @type {ReturnType<typeof create> | undefined} */
let keys;

/** Shows all keys. */
export const open = (/** @type {Page} */ page) => {
  keys ??= create(page);
  if (keys.dialog.open) return;
  try {
    keys.box.checked = !localStorage.getItem(NO_LETTER_KEYS);
  } catch {
    keys.box.checked = true;
  }
  keys.dialog.showModal();
  keys.close.focus({ preventScroll: true });
  keys.dialog.scrollTop = 0;
};
