// Loads the pieces of a page that are not on the first screen, when they are first needed: modules in later/, with one
// stylesheet. boot.js loads this module once the page is hydrated.
//
// An element with `data-later="NAME"` belongs to the piece of that name, and one with `data-call="NAME"` to a function of the
// module in WASM. Each is a link, or a button of a form, that does the same without a script. So it may be clicked before its
// piece is there, and where the piece cannot be loaded, it is followed.

/** @import { Core, Page, Piece } from '../later' */

/** The time after which a piece that is not there is not waited for any longer, in milliseconds. */
const PATIENCE_MILLIS = 10_000;
/** How long a touch is held for the actions of a message, in milliseconds, and how far it may move meanwhile, in pixels. */
const [HOLD_MILLIS, HOLD_PIXELS] = [500, 10];
/** Screens on which dialogs are no sheets, as in later.css. */
const WIDE = '(min-width: 720px)';
/** How long a sentence is shown, in milliseconds. */
const TOAST_MILLIS = 6_000;
/** The keys that act on the message whose actions have the focus. */
const LETTER_KEYS = ['r', 'e', 'c', '+'];
const ROW_KEYS = ['ArrowLeft', 'ArrowRight', 'Delete'];
/** In `localStorage`, set if keys that are characters do nothing outside of fields (WCAG 2.2, 2.1.4). */
const NO_LETTER_KEYS = 'no letter keys';
/** What is being written may be about to be completed. complete.js looks more closely. */
const MAY_COMPLETE = /(?:^|[\s(])[@:]\S{0,40}(?: \S{0,40})?$|^\/\w*$/;
/** A paste of this length, in characters or lines, may be about to become a block of code. */
const [LONG_PASTE, LONG_PASTE_LINES] = [1_500, 4];

/** @type {Core} */
let core;
/** @type {(reason: Error) => void} Rejects what was asked of a module that has been replaced. */
let abandon = () => {};
/** @type {Promise<never>} */
let abandoned;
/** @type {string[]} The addresses of the files that come later, each with its version. */
let addresses = [];
let isListening = false;

/** Takes the module in WASM, which has just hydrated or rendered the page: another one after a failure of the one before. */
export const ready = (/** @type {Core} */ bindings, /** @type {string} */ files) => {
  abandon(new Error('A part of this page had to be started again, so this may have been done. Look whether it was.'));
  abandoned = new Promise((_, reject) => (abandon = reject));
  abandoned.catch(() => {});
  core = bindings;
  addresses = files.split(' ');
  for (const link of document.querySelectorAll(BUTTONS)) becomeButton(/** @type {HTMLElement} */ (link));
  if (hasUnsavedEdit()) void call('edit', (piece) => piece.resume?.(page));
  if (isListening) return;
  isListening = true;
  listen();
};

/** Whether a message of this chat was being edited when the page was left, as edit.js keeps it. */
const hasUnsavedEdit = () => {
  try {
    return document.querySelector('.composer') && Object.keys(sessionStorage).some((key) => key.startsWith(`edit ${page.chat} `));
  } catch {
    return false;
  }
};

/** Links do what buttons do on a live page. Those that the page adds later are buttons from the start. */
const becomeButton = (/** @type {HTMLElement} */ link) => {
  link.setAttribute('role', 'button');
  if (link.dataset.popup) link.setAttribute('aria-haspopup', link.dataset.popup);
};

const address = (/** @type {string} */ file) => addresses.find((each) => each.includes(`/${file}?`));

/** @type {Map<string, Promise<Piece>>} */
const pieces = new Map();
/** @type {Map<string, number>} How often each piece could not be loaded. */
const failures = new Map();
/** @type {Promise<unknown> | undefined} */
let style;

const loadStyle = () => {
  style ??= new Promise((resolve, reject) => {
    const link = Object.assign(document.createElement('link'), { rel: 'stylesheet', href: address('later.css') ?? '/later/later.css' });
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

const load = (/** @type {string} */ name) => {
  const known = pieces.get(name);
  if (known) return known;
  const file = address(`${name}.js`);
  const failed = failures.get(name) ?? 0;
  // another fragment, since browsers remember that an import failed
  const loaded = file ? Promise.all([import(failed ? `${file}#again${failed}` : file), loadStyle()]) : Promise.reject(new Error(`there is no ${name}.js`));
  /** @type {Promise<Piece>} */
  const piece = loaded.then(([module]) => module);
  pieces.set(name, piece);
  piece.catch(() => {
    pieces.delete(name);
    failures.set(name, failed + 1);
  });
  return piece;
};
/** Loads a piece that will probably be needed. */
const preload = (/** @type {string} */ name) => load(name).catch(() => {});

const late = () => new Promise((_, reject) => setTimeout(reject, PATIENCE_MILLIS, new Error('late')));

/** Loads a piece and calls a function of it; does `otherwise` if that is not possible, or fails. */
const call = async (/** @type {string} */ name, /** @type {(piece: Piece) => unknown} */ use, /** @type {() => unknown} */ otherwise = () => {}) => {
  /** @type {Piece} */
  let piece;
  try {
    piece = await Promise.race([load(name), late()]);
  } catch {
    return otherwise();
  }
  try {
    await use(piece);
  } catch (error) {
    console.error(error);
    return otherwise();
  }
};

const follow = async (/** @type {HTMLElement} */ element) => {
  try {
    await fetch('/healthz', { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE_MILLIS) });
  } catch {
    // the browser's own page would replace this one, and what was written in it
    return core.not_connected();
  }
  if (element instanceof HTMLAnchorElement) location.assign(element.href);
  else if (element instanceof HTMLButtonElement) element.form?.requestSubmit(element);
};

// Only the last of several elements is opened: who waits for one may have changed their mind.
/** @type {HTMLElement | undefined} */
let opening;
const open = async (/** @type {HTMLElement} */ element) => {
  const name = element.dataset.later;
  if (!name) return;
  opening = element;
  element.setAttribute('aria-busy', 'true');
  const isStillWanted = () => opening === element && element.isConnected;
  try {
    await call(
      name,
      (piece) => (isStillWanted() ? piece.open?.(page, element) : undefined),
      () => (isStillWanted() ? follow(element) : undefined),
    );
  } finally {
    element.removeAttribute('aria-busy');
  }
};

/** The links that do what buttons do on a live page. Those that lead somewhere stay links. */
const BUTTONS = 'a[data-later]:not(.picture), a[data-call]:not(.in-reply, [data-call=go_to_day])';

/** @type {HTMLElement} */
let toast;
let toastTimer = 0;

/** @type {Page} */
const page = {
  get core() {
    return core;
  },
  get chat() {
    return /** @type {HTMLInputElement} */ (document.querySelector('.composer [name=chat]')).value;
  },
  ask: (command) => {
    const answered = new Promise((resolve, reject) => {
      core.ask(JSON.stringify(command), (seq, sentence) => (sentence === undefined ? resolve(seq) : reject(new Error(sentence))));
    });
    return Promise.race([answered, abandoned]);
  },
  address,
  load,
  open,
  follow,
  show: (dialog, anchor) => {
    if (!dialog.isConnected) {
      document.body.append(dialog);
      page.closeBeside(dialog);
    }
    if (!dialog.open) dialog.showModal();
    dialog.style.inset = '';
    if (!matchMedia(WIDE).matches) return;
    const [from, box] = [anchor.getBoundingClientRect(), dialog.getBoundingClientRect()];
    const isBelow = from.bottom + box.height + 8 < innerHeight;
    const top = Math.max(8, isBelow ? from.bottom + 4 : from.top - box.height - 4);
    const left = Math.max(8, Math.min(from.right - box.width, innerWidth - box.width - 8));
    dialog.style.inset = `${top}px auto auto ${left}px`;
  },
  closeBeside: (dialog) => {
    const isBeside = (/** @type {MouseEvent} */ { target, clientX, clientY }) => {
      const { left, right, top, bottom } = dialog.getBoundingClientRect();
      return target === dialog && (clientX < left || clientX > right || clientY < top || clientY > bottom);
    };
    // the end of a touch that opened it is no click beside it
    let isPressed = false;
    dialog.addEventListener('pointerdown', (event) => (isPressed = isBeside(event)));
    dialog.addEventListener('click', (event) => isPressed && isBeside(event) && dialog.close());
  },
  tell: (sentence) => {
    // a region that is there before its text is read by screen readers
    if (!toast) {
      toast = Object.assign(document.createElement('p'), { className: 'toast' });
      toast.setAttribute('role', 'status');
      document.body.append(toast);
    }
    clearTimeout(toastTimer);
    toast.textContent = '';
    toastTimer = setTimeout(() => {
      toast.textContent = sentence;
      toastTimer = setTimeout(() => (toast.textContent = ''), TOAST_MILLIS);
    }, 100);
  },
  goTo: (seq) => {
    const row = document.querySelector(`.actions[data-seq="${seq}"]`)?.closest('li');
    if (core.go_to(seq)) return;
    if (row) row.scrollIntoView({ block: 'center' });
    else location.assign(`/chat/${page.chat}?at=${seq}`);
  },
};

/** How often a picture that could not be loaded is asked for again, in milliseconds: another node of a cluster may have it first. */
const PICTURE_RETRIES = [1_000, 2_000, 4_000];

const isLive = () => document.documentElement.dataset.hydration === 'hydrated';
const isField = (/** @type {Element} */ element) => element.matches('input, textarea, select, [contenteditable]');
/** During composition an input method handles keys itself; Safari marks the key that ends it only by this code. */
const isComposing = (/** @type {KeyboardEvent} */ event) => event.isComposing || event.keyCode === 229;
const hasLetterKeys = () => {
  try {
    return !localStorage.getItem(NO_LETTER_KEYS);
  } catch {
    return true;
  }
};

/** Returns the nearest element around the target of an event that matches. `null` if there is none, or the page is not live. */
const around = (/** @type {Event} */ { target }, /** @type {string} */ selector) =>
  isLive() && target instanceof Element ? /** @type {HTMLElement | null} */ (target.closest(selector)) : null;

/** Returns the position of the message around an element. */
const seqAround = (/** @type {Element} */ element) => Number(/** @type {HTMLElement | null} */ (element.closest('[data-seq]'))?.dataset.seq);

const handleClick = (/** @type {MouseEvent} */ event) => {
  const element = around(event, '[data-later], [data-call]');
  if (!element || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const { later, call: name = '' } = element.dataset;
  event.preventDefault();
  if (later) void open(element);
  else if (!(/** @type {any} */ (core)[name]?.(seqAround(element)))) void follow(element);
};

const handleKey = (/** @type {KeyboardEvent} */ event) => {
  const { target, key } = event;
  if (event.defaultPrevented || isComposing(event) || event.ctrlKey || event.metaKey || event.altKey || !isLive() || !(target instanceof Element)) return;
  const link = around(event, BUTTONS);
  const bar = around(event, '.actions');
  const isLetter = key.length === 1 && hasLetterKeys() && !isField(target) && !document.querySelector('dialog[open]');
  if (key === ' ' && link) {
    link.click();
  } else if (key === 'ArrowUp' && !event.shiftKey && target instanceof HTMLTextAreaElement && !target.value && around(event, '.composer')) {
    void call('edit', (piece) => piece.editLast?.(page, target));
  } else if (bar && (ROW_KEYS.includes(key) || (isLetter && LETTER_KEYS.includes(key)))) {
    const more = /** @type {HTMLElement | null} */ (bar.querySelector('[data-later=actions]'));
    void call('actions', (piece) => piece.key?.(page, bar, key), () => more && follow(more));
  } else if (isLetter && key === '?') {
    void call('keys', (piece) => piece.open?.(page, document.body));
  } else if (isLetter && key === '/' && document.querySelector('[data-later=search]')) {
    /** @type {HTMLElement} */ (document.querySelector('[data-later=search]')).click();
  } else {
    return;
  }
  event.preventDefault();
};

// Once it is loaded, it is told of each change, to close what it has opened.
let hasComplete = false;
const handleInput = (/** @type {Event} */ event) => {
  const { target } = event;
  if (!(target instanceof HTMLTextAreaElement) || !around(event, '.composer, .edit-message')) return;
  if (!hasComplete && !MAY_COMPLETE.test(target.value.slice(0, target.selectionStart))) return;
  hasComplete = true;
  void call('complete', (piece) => piece.update?.(page, target), () => (hasComplete = false));
};

const handlePaste = (/** @type {ClipboardEvent} */ event) => {
  const field = around(event, '.composer textarea');
  const text = event.clipboardData?.getData('text/plain') ?? '';
  if (!field || event.defaultPrevented || (text.length < LONG_PASTE && text.split('\n').length < LONG_PASTE_LINES)) return;
  // after the text is in the field
  setTimeout(() => call('paste', (piece) => piece.offer?.(page, field, text)));
};

/** Files that are pictures belong to the message being written; others are left to the page, which says so. */
const files = (/** @type {DataTransfer | null} */ data) => [...(data?.files ?? [])];
const takeFiles = (/** @type {Event} */ event, /** @type {File[]} */ taken) => {
  if (event.defaultPrevented || !isLive() || !document.querySelector('.composer:not([inert], .silent, .ending) .attach') || !taken.some(({ type }) => type.startsWith('image/'))) return;
  event.preventDefault();
  void call('pictures', (piece) => piece.take?.(page, taken), () => page.tell('Pictures cannot be attached just now. Load the page again.'));
};
const listenToFiles = () => {
  // before the page, which rejects files that are not taken here
  addEventListener('drop', (event) => takeFiles(event, files(event.dataTransfer)), true);
  addEventListener(
    'paste',
    (event) => {
      // office programs add a picture of the text
      if (!event.clipboardData?.types.includes('text/plain')) takeFiles(event, files(event.clipboardData));
    },
    true,
  );
  addEventListener('change', (event) => {
    const { target } = event;
    if (!(target instanceof HTMLInputElement) || target.name !== 'pictures' || !isLive()) return;
    const chosen = [...(target.files ?? [])];
    // so that the same file can be chosen again
    target.value = '';
    void call('pictures', (piece) => piece.take?.(page, chosen), () => page.tell('Pictures cannot be attached just now. Load the page again.'));
  });
  addEventListener('pointerover', (event) => around(event, '.attach') && void preload('pictures'));
  addEventListener(
    'error',
    ({ target }) => {
      if (!(target instanceof HTMLImageElement) || !target.closest('.picture')) return;
      const tries = Number(target.dataset.tries ?? 0);
      const { src } = target;
      target.dataset.tries = String(tries + 1);
      if (tries < PICTURE_RETRIES.length) setTimeout(() => (target.src = src), PICTURE_RETRIES[tries]);
    },
    true,
  );
};

/** A touch that is held on a message shows its actions, and on a reaction who has reacted. What a browser does with links, buttons and fields stays. */
const listenToHolds = () => {
  let timer = 0;
  let start = { x: 0, y: 0 };
  let isHeld = false;
  const cancel = () => clearTimeout(timer);
  addEventListener(
    'pointerdown',
    (event) => {
      cancel();
      isHeld = false;
      const reaction = around(event, '.reactions button');
      const bar = event.pointerType === 'touch' && event.isPrimary ? around(event, '.message')?.querySelector('.actions') : null;
      if (!(bar instanceof HTMLElement) || !bar.offsetParent) return;
      start = { x: event.clientX, y: event.clientY };
      if (reaction) {
        // for the looks of what is told
        void preload('actions');
        timer = setTimeout(() => {
          isHeld = true;
          page.tell(`${reaction.ariaLabel}: ${reaction.title}`);
        }, HOLD_MILLIS);
        return;
      }
      if (around(event, 'a, button, input, summary')) return;
      void preload('actions');
      timer = setTimeout(() => {
        isHeld = true;
        void call('actions', (piece) => piece.hold?.(page, bar));
      }, HOLD_MILLIS);
    },
    true,
  );
  addEventListener('pointermove', ({ clientX, clientY }) => Math.hypot(clientX - start.x, clientY - start.y) > HOLD_PIXELS && cancel(), { capture: true, passive: true });
  for (const type of ['pointerup', 'pointercancel', 'scroll']) addEventListener(type, cancel, { capture: true, passive: true });
  // its end is no click on what was shown under the finger
  addEventListener('touchend', (event) => isHeld && event.cancelable && event.preventDefault(), { capture: true, passive: false });
  addEventListener('contextmenu', (event) => isHeld && event.preventDefault(), true);
};

const listen = () => {
  addEventListener('click', handleClick);
  addEventListener('keydown', handleKey);
  addEventListener('input', handleInput);
  addEventListener('paste', handlePaste);
  listenToHolds();
  listenToFiles();
  // so that the first click does not wait
  for (const type of ['pointerover', 'focusin']) {
    addEventListener(type, (event) => {
      const name = around(event, '[data-later]')?.dataset.later;
      if (name) void preload(name);
    });
  }
};
