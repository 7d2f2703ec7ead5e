// Brings a page to life, keeps it alive, and says so where it cannot.
//
// `life`, `isLate`, `stillWorks` and the states of a page are in life.js, which every page has in its head. The addresses of the script and
// the WASM are with the element that this is run by.
(() => {
const { script, wasm } = document.currentScript.dataset;
// A page that was not painted within so many milliseconds, or a browser that does not tell, is taken over all the same.
const PAINT = 300;
// A task lasts about so many milliseconds, or as long as one piece: then the browser may scroll and paint.
const TASK = 5;
const page = document.documentElement;
const root = () => document.getElementById('page');

// While somebody writes by an input method, nothing may take the field away.
let composing = false;
addEventListener('compositionstart', () => (composing = true), true);
addEventListener('compositionend', () => (composing = false), true);
const composed = () => composing && new Promise((done) => addEventListener('compositionend', () => setTimeout(done), { once: true, capture: true }));

// What a person has written or chosen, and where they are, from one version of the page to the next.
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

// What was begun before the page is alive is there when one comes back, as what is written later; what was sent is not.
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

// Whether everything that the server rendered is there, and nothing else: translators, password managers and filters change
// pages before they are alive, and what is taken over has to be what it was.
const isUntouched = () => {
  const walker = document.createTreeWalker(root(), NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_COMMENT);
  let count = 0;
  while (walker.nextNode()) count += 1;
  return count === Number(root().dataset.nodes);
};
// The page as it came, for want of anything newer.
let served;
let touched = false;
// the words about the life of the page are set meanwhile, and a text alone takes no place
const isNode = ({ nodeType }) => nodeType !== Node.TEXT_NODE;
const watcher = new MutationObserver((changes) => {
  touched ||= changes.some(({ addedNodes, removedNodes }) => [...addedNodes, ...removedNodes].some(isNode));
});

// Each instance of the module is a copy of its own, so that one that failed is left behind whole.
let module;
let instance;
let number = 0;
const start = async () => {
  number += 1;
  // compiled once: an address with another fragment is another copy of the script
  const glue = await import(number === 1 ? script : `${script}#${number}`);
  await glue.default({ module_or_path: module });
  instance = glue;
};

const turn = () => new Promise((done) => setTimeout(done, 0));
const acts = ['click', 'keydown', 'input', 'submit'];

// Takes the page over as it is, piece by piece; whoever acts meanwhile acts on a page that is whole. False where it is not as it
// was rendered.
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
  // What the page changes itself is no change from outside, and once it is alive it changes all the time.
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

// What follows from what an instance did fails a moment later, where nobody catches it.
let broken = false;
const isBroken = async () => {
  await turn();
  return broken;
};

// What a person has written, until the page that has it is whole.
let restore;
// Renders the page anew from its data, by a fresh instance.
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
    // a proxy may have called it something else: then it is compiled once it is there
    const answer = await fetch(wasm, options);
    return WebAssembly.compile(await answer.arrayBuffer());
  }
};
const begin = async (again) => {
  const compiled = module ? null : fetchModule(again);
  // a script that did not come is asked for by another address: browsers remember that it failed
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

// A page that cannot be alive is as the server renders it: nothing in it listens any more.
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

// Something in it failed: it begins anew, unless that happens again and again.
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

// The page is shown before what takes it over is asked for, unless nobody looks at it.
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
      // what was not there may come, and what was cut short may come whole
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
