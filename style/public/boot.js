// Loads the WASM module, hydrates the page, recovers from failures of the module, and shows whether the page is hydrated.
//
// `life`, `isLate` and `stillWorks` are defined by hydration_state.js, which every page has in its head. The addresses of the script and the
// WASM are attributes of the element that loads this file.
(() => {
const { script, wasm } = document.currentScript.dataset;
// The longest wait for the first paint, in milliseconds; some browsers do not report it.
const PAINT = 300;
// The length of a hydration task, in milliseconds, unless one piece takes longer.
const TASK = 5;
const page = document.documentElement;
const root = () => document.getElementById('page');

// While text is composed with an input method, the field must not be replaced.
let composing = false;
addEventListener('compositionstart', () => (composing = true), true);
addEventListener('compositionend', () => (composing = false), true);
const composed = () => composing && new Promise((done) => addEventListener('compositionend', () => setTimeout(done), { once: true, capture: true }));

// Saves what was entered, the focus and the scroll position; the returned function restores them.
const fields = () => [...root().querySelectorAll('input:not([type=hidden]), textarea')];
const name = (field) => `${field.closest('form')?.getAttribute('action')} ${field.name || field.ariaLabel}`;
const keep = () => {
  const kept = fields().map((field) => {
    const isHere = field === document.activeElement;
    return { name: name(field), text: field.value, tick: field.checked, isHere, range: isHere && field.type !== 'checkbox' && [field.selectionStart, field.selectionEnd] };
  });
  const place = document.querySelector('[role=log]')?.scrollTop;
  const focused = document.activeElement;
  const alike = () => [...root().querySelectorAll(focused.localName)];
  const index = focused ? alike().indexOf(focused) : -1;
  return () => {
    if (place) document.querySelector('[role=log]')?.scrollTo({ top: place });
    if (index >= 0) alike()[index]?.focus({ preventScroll: true });
    for (const { name: known, text, tick, isHere, range } of kept) {
      const field = fields().find((field) => name(field) === known);
      if (!field) continue;
      const isOther = text !== field.value || tick !== field.checked;
      field.value = text;
      field.checked = tick;
      if (isOther) field.dispatchEvent(new Event('input', { bubbles: true }));
      if (isHere) field.focus({ preventScroll: true });
      if (range) field.setSelectionRange(...range);
    }
  };
};

// Saves the draft of a page that is not hydrated, unless it was sent.
let sent;
addEventListener('submit', (event) => (sent = !event.defaultPrevented && event.target));
addEventListener('pagehide', () => {
  const field = page.dataset.life !== 'alive' && document.querySelector('textarea[name=body]');
  if (!field) return;
  const key = `draft ${field.form.elements.chat.value}`;
  try {
    if (field.form === sent) sessionStorage.removeItem(key);
    else if (field.value) sessionStorage.setItem(key, field.value);
  } catch {}
});

// Returns whether the page has as many elements and comments as the server rendered: translators, password managers and filters
// may change a page before it is hydrated, and hydration needs it unchanged.
const isUntouched = () => {
  const walker = document.createTreeWalker(root(), NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_COMMENT);
  let count = 0;
  while (walker.nextNode()) count += 1;
  return count === Number(root().dataset.nodes);
};
// The page as the server rendered it, used if no newer one can be fetched.
let served;
let touched = false;
// only elements and comments count: hydration_state.js changes the status text meanwhile
const isNode = ({ nodeType }) => nodeType !== Node.TEXT_NODE;
const watcher = new MutationObserver((changes) => {
  touched ||= changes.some(({ addedNodes, removedNodes }) => [...addedNodes, ...removedNodes].some(isNode));
});

// Each instance of the module has its own copy of the script and its own memory, so a failed one is discarded as a whole.
let module;
let instance;
let number = 0;
const start = async () => {
  number += 1;
  // the WASM is compiled once; a different fragment in the address makes the browser load another copy of the script
  const glue = await import(number === 1 ? script : `${script}#${number}`);
  await glue.default({ module_or_path: module });
  instance = glue;
};

const turn = () => new Promise((done) => setTimeout(done, 0));
const acts = ['click', 'keydown', 'input', 'submit'];

// Hydrates the page piece by piece. If the user acts meanwhile, the rest is hydrated first, at once. Returns false if the page is
// not as the server rendered it.
const takeOver = async () => {
  watcher.observe(root(), { childList: true, subtree: true });
  let hasBegun = false;
  let goesOn = true;
  const finish = () => {
    if (!hasBegun || !goesOn || touched) return;
    try {
      goOn(() => true);
    } catch {
      touched = true;
    }
  };
  // Continues while `mayGoOn` is true. Ignores changes by the module itself, and all changes once the page is hydrated.
  const goOn = (mayGoOn) => {
    do goesOn = instance.advance();
    while (goesOn && mayGoOn());
    if (goesOn) watcher.takeRecords();
    else watcher.disconnect();
  };
  for (const act of acts) addEventListener(act, finish, true);
  try {
    await turn();
    instance.load();
    await turn();
    if (touched) return false;
    instance.hydrate();
    hasBegun = true;
    watcher.takeRecords();
    while (goesOn) {
      await turn();
      if (touched) return false;
      const began = performance.now();
      goOn(() => document.hidden || performance.now() - began < TASK);
    }
    return true;
  } finally {
    for (const act of acts) removeEventListener(act, finish, true);
    watcher.disconnect();
  }
};

// Errors in tasks and promises of an instance are reported later, by events of the window.
let broken = false;
const isBroken = async () => {
  await turn();
  return broken;
};

// Restores the state that `keep` saved; set until a page that has it is complete.
let restore;
// Renders the page from its data with a new instance.
const build = async () => {
  await composed();
  const last = instance;
  await start();
  quit(last);
  broken = false;
  restore ??= keep();
  root().replaceChildren();
  instance.load();
  instance.render();
  while (instance.advance());
  restore();
  if (await isBroken()) throw new Error('rendered, and failed');
  restore = null;
};
const quit = (instance) => {
  try {
    instance?.stop();
  } catch {}
};

const fetchModule = async (again) => {
  const options = { cache: again ? 'reload' : 'default' };
  try {
    return await WebAssembly.compileStreaming(fetch(wasm, options));
  } catch {
    // streaming needs the right content type, which a proxy may have changed: compile after loading
    const answer = await fetch(wasm, options);
    return WebAssembly.compile(await answer.arrayBuffer());
  }
};
const begin = async (again) => {
  const compiled = module ? null : fetchModule(again);
  // a retry uses another address, since browsers remember that an import failed
  const first = import(number || !again ? script : `${script}#again${again}`);
  module ??= await compiled;
  const glue = await first;
  if (!number) {
    number = 1;
    await glue.default({ module_or_path: module });
    instance = glue;
  }
  const isWhole = isUntouched() && (await takeOver().catch(() => false)) && !(await isBroken());
  if (!isWhole) await build();
  life('alive');
};

// Replaces a page that cannot be hydrated by one as the server renders it, without event listeners.
const die = async (why) => {
  let fresh;
  try {
    const answer = await fetch(location.href, { signal: AbortSignal.timeout(10_000) });
    if (answer.ok) fresh = new DOMParser().parseFromString(await answer.text(), 'text/html').getElementById('page');
  } catch {}
  quit(instance);
  restore ??= keep();
  root().replaceWith(fresh ?? served);
  restore();
  life('dead', 'Not live', `${why} ${stillWorks}`);
};

// Renders the page with a new instance after a failure, at most three times within a minute.
let failures = [];
const failed = ({ error, reason }) => {
  if (!((error ?? reason) instanceof WebAssembly.RuntimeError)) return;
  if (page.dataset.life !== 'alive') return void (broken = true);
  failures = [...failures.filter((at) => performance.now() - at < 60_000), performance.now()];
  life('starting');
  const again = failures.length > 3 ? Promise.reject() : build();
  again.then(() => life('alive')).catch(() => die('Something on this page failed.'));
};
addEventListener('error', failed);
addEventListener('unhandledrejection', failed);

// Resolves after the first paint: the module is requested only then, unless the page is in the background.
const shown = () =>
  new Promise((done) => {
    setTimeout(done, PAINT);
    try {
      new PerformanceObserver(done).observe({ type: 'paint', buffered: true });
    } catch {}
  });
const waits = [1, 2, 4, 8, 15, 30];
const parsed = () => document.readyState === 'loading' && new Promise((done) => addEventListener('DOMContentLoaded', done, { once: true }));
(async () => {
  await parsed();
  served = root().cloneNode(true);
  if (!document.hidden) await shown();
  for (let again = 0; ; again += 1) {
    try {
      return await begin(again);
    } catch (error) {
      // a file that was missing or incomplete may be available later
      const why = 'A part of this page could not be loaded or run in this browser.';
      if (!self.WebAssembly || number) return die(why);
      const wait = waits[again];
      if (wait) isLate();
      else life('dead', 'Not live', `${why} ${stillWorks}`);
      await new Promise((done) => {
        if (wait) setTimeout(done, wait * 1_000);
        addEventListener('online', done, { once: true });
      });
    }
  }
})();
})();
