// Pictures that go with the message being written: uploaded as soon as they are chosen, pasted or dropped, and listed with
// their progress. Loaded when the first one comes.

/** @import { Page } from '../../later' */

/** As many as a message can have. */
const MOST = 8;
/** How many are uploaded at a time. */
const AT_ONCE = 2;
const KINDS = ['image/jpeg', 'image/png', 'image/gif', 'image/webp'];
/** Larger pictures are made smaller here before they are sent: the largest file, in bytes, and the most pixels that a server takes. */
const [LARGEST_FILE, MOST_PIXELS] = [10 * 1024 * 1024, 50_000_000];
/** The longer side of a picture that was made smaller, in pixels, and its quality. */
const [SMALLER_SIDE, SMALLER_QUALITY] = [4_096, 0.9];
/** The side of a preview, in pixels. */
const PREVIEW = 128;
/** A picture can be posted for 15 minutes after its upload; it is offered for a retry a little earlier. */
const WAITS_MILLIS = 14 * 60 * 1_000;
/** How often an upload is tried again by itself when the server is busy. */
const TRIES = 3;

const ONLY_PICTURES = 'Qchat takes text and pictures. Put other files where others can get them, and send the link.';
const TOO_MANY = `A message can have up to ${MOST} pictures.`;
const LOST = 'The connection was lost before the picture was there. Retry when you are back.';
const WAITED = 'This waited too long to be sent. Retry it first.';

/**
 * A picture in the list.
 * @typedef {object} Item
 * @property {File} file
 * @property {'waits' | 'goes' | 'there' | 'failed'} state
 * @property {string} [ticket] What the server gave for it.
 * @property {XMLHttpRequest} [request] The upload that is under way.
 * @property {number} [timer] Until it can be posted no more, or is tried again.
 * @property {number} tries
 * @property {HTMLElement} row
 * @property {HTMLCanvasElement} preview
 * @property {HTMLProgressElement} progress
 * @property {HTMLInputElement} description
 * @property {HTMLElement} status
 * @property {HTMLButtonElement} retry
 */

/** @type {Item[]} */
let items = [];
/** @type {HTMLUListElement | undefined} */
let list;

/** The field of the composer: another one after the page was rendered anew. */
const field = () => /** @type {HTMLTextAreaElement} */ (document.querySelector('.composer textarea'));

/** Attaches files, and tells the user what cannot be. */
export const take = (/** @type {Page} */ page, /** @type {File[]} */ files) => {
  const pictures = files.filter(({ type }) => KINDS.includes(type) || type === 'image/heic' || type === 'image/heif');
  if (pictures.length < files.length) page.tell(ONLY_PICTURES);
  const taken = pictures.slice(0, MOST - items.length);
  if (taken.length < pictures.length) page.tell(TOO_MANY);
  for (const file of taken) add(page, file);
  if (taken.length) field().focus();
  next(page);
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

const add = (/** @type {Page} */ page, /** @type {File} */ file) => {
  const name = make('span', { className: 'attached-name', textContent: file.name || 'Picture' });
  name.id = `picture-${crypto.randomUUID?.() ?? Math.random()}`;
  const preview = make('canvas', { width: PREVIEW, height: PREVIEW });
  preview.setAttribute('aria-hidden', 'true');
  const progress = make('progress', { max: 1, value: 0 });
  progress.setAttribute('aria-labelledby', name.id);
  const description = make('input', { type: 'text', maxLength: 1_000, placeholder: 'Description', autocomplete: 'off', dir: 'auto' });
  description.ariaLabel = 'Description';
  description.setAttribute('aria-describedby', name.id);
  const status = make('span', { className: 'attached-status soft', role: 'status' });
  const retry = make('button', { type: 'button', className: 'quiet', textContent: 'Retry', hidden: true });
  const cancel = make('button', { type: 'button', className: 'quiet', textContent: 'Cancel' });
  for (const button of [retry, cancel]) button.setAttribute('aria-describedby', name.id);
  const row = make('li', {}, preview, make('div', { className: 'attached-text' }, name, progress, status, description), make('div', { className: 'attached-actions' }, retry, cancel));
  /** @type {Item} */
  const item = { file, state: 'waits', tries: 0, row, preview, progress, description, status, retry };
  items.push(item);
  shownList(page).append(row);
  cancel.onclick = () => {
    // it would be sent at once
    if (items.every((other) => other === item || other.state === 'there')) waitNoMore();
    remove(page, item);
    field().focus();
  };
  retry.onclick = () => {
    item.tries = 0;
    wait(item);
    next(page);
  };
  description.oninput = () => report(page);
  // Enter in a form sends it, and the message is not complete.
  description.onkeydown = (event) => {
    if (event.key !== 'Enter' || event.isComposing) return;
    event.preventDefault();
    field().focus();
  };
  void draw(item);
};

/** Returns the list, in the composer that is there now. */
const shownList = (/** @type {Page} */ page) => {
  if (list?.isConnected) return list;
  const old = list;
  list = make('ul', { className: 'attached' }, ...(old?.children ?? []));
  list.ariaLabel = 'Pictures to send';
  /** @type {HTMLElement} */ (document.querySelector('.composer-field')).before(list);
  field().addEventListener('sent', () => clear(page));
  return list;
};

/** Shows the middle of a picture. One that this browser cannot decode is sent without. */
const draw = async (/** @type {Item} */ { file, preview }) => {
  try {
    const bitmap = await createImageBitmap(file);
    const side = Math.min(bitmap.width, bitmap.height);
    const [left, top] = [(bitmap.width - side) / 2, (bitmap.height - side) / 2];
    preview.getContext('2d')?.drawImage(bitmap, left, top, side, side, 0, 0, PREVIEW, PREVIEW);
    bitmap.close();
  } catch {}
};

/** Returns the file to send: a smaller picture if this one is larger than a server takes. */
const fitting = async (/** @type {File} */ file) => {
  try {
    const bitmap = await createImageBitmap(file);
    try {
      if (file.size <= LARGEST_FILE && bitmap.width * bitmap.height <= MOST_PIXELS) return file;
      const scale = Math.min(1, SMALLER_SIDE / Math.max(bitmap.width, bitmap.height));
      const canvas = make('canvas', { width: Math.round(bitmap.width * scale), height: Math.round(bitmap.height * scale) });
      canvas.getContext('2d')?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      /** @type {Blob | null} */
      const smaller = await new Promise((resolve) => canvas.toBlob(resolve, 'image/jpeg', SMALLER_QUALITY));
      return smaller ?? file;
    } finally {
      bitmap.close();
    }
  } catch {
    return file;
  }
};

/** Uploads what waits, and tells the page what there is. */
const next = (/** @type {Page} */ page) => {
  for (const item of items) {
    if (items.filter(({ state }) => state === 'goes').length >= AT_ONCE) break;
    if (item.state === 'waits' && !item.timer) void upload(page, item);
  }
  report(page);
};

const wait = (/** @type {Item} */ item) => {
  clearTimeout(item.timer);
  Object.assign(item, { state: 'waits', timer: 0, ticket: undefined });
  item.status.textContent = '';
  item.status.classList.remove('problem');
  item.retry.hidden = true;
  item.progress.hidden = false;
  item.progress.value = 0;
};

const upload = async (/** @type {Page} */ page, /** @type {Item} */ item) => {
  item.state = 'goes';
  item.tries += 1;
  const file = await fitting(item.file);
  if (!items.includes(item)) return;
  const request = new XMLHttpRequest();
  item.request = request;
  request.open('POST', `/api/picture?chat=${page.chat}`);
  request.responseType = 'json';
  request.upload.onprogress = ({ loaded, total }) => {
    item.progress.value = loaded / total;
    // The server decodes it then.
    if (loaded === total) item.progress.removeAttribute('value');
  };
  request.onloadend = () => {
    item.request = undefined;
    if (!items.includes(item)) return;
    const { status, response } = request;
    if (status === 200 && response?.ticket) arrived(page, item, response.ticket);
    else refused(page, item, response?.refused);
    next(page);
  };
  request.send(file);
};

const arrived = (/** @type {Page} */ page, /** @type {Item} */ item, /** @type {string} */ ticket) => {
  Object.assign(item, { state: 'there', ticket });
  item.progress.hidden = true;
  item.status.textContent = 'Ready';
  item.timer = setTimeout(() => {
    fail(item, WAITED);
    report(page);
  }, WAITS_MILLIS);
};

const refused = (/** @type {Page} */ page, /** @type {Item} */ item, /** @type {{ code: string, message: string, retry_after?: number } | undefined} */ refusal) => {
  const seconds = refusal?.retry_after;
  if (!seconds || item.tries >= TRIES) return fail(item, refusal?.message ?? LOST);
  wait(item);
  item.timer = setTimeout(() => {
    item.timer = 0;
    next(page);
  }, seconds * 1_000);
};

/** A message that was to be sent once its pictures are there is not sent by itself any more: it is another one now. */
const waitNoMore = () => field().dispatchEvent(new Event('input', { bubbles: true }));

const fail = (/** @type {Item} */ item, /** @type {string} */ sentence) => {
  waitNoMore();
  Object.assign(item, { state: 'failed', ticket: undefined });
  item.progress.hidden = true;
  item.status.textContent = sentence;
  item.status.classList.add('problem');
  item.retry.hidden = false;
};

/** Tells the page what goes with the message. One that has failed holds it back, until it is retried or cancelled. */
const report = (/** @type {Page} */ page) => {
  const tickets = items.flatMap(({ ticket, description }) => (ticket ? [{ ticket, alt: description.value }] : []));
  page.core.attach?.(JSON.stringify(tickets), items.some(({ state }) => state !== 'there'));
};

const remove = (/** @type {Page} */ page, /** @type {Item} */ item) => {
  clearTimeout(item.timer);
  items = items.filter((other) => other !== item);
  item.request?.abort();
  item.row.remove();
  if (!items.length) clear(page);
  next(page);
};

/** Empties the list, once the message was taken. */
const clear = (/** @type {Page} */ _) => {
  for (const { timer, request } of items) {
    clearTimeout(timer);
    request?.abort();
  }
  items = [];
  list?.remove();
  list = undefined;
};
