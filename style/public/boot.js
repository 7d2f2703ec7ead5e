// Loads the WASM module, hydrates the page, recovers from failures of the module, and shows whether the page is hydrated.
//
// Uses two inline scripts in the head of every live page, both in app/src/shell: the addresses that the element of preload.js
// has, and the functions of hydration_state.js.
(() => {
const { script, wasm, later } = document.querySelector('script[data-wasm]').dataset;
// The longest wait for the first paint, in milliseconds; some browsers do not report it.
const PAINT_MILLIS = 300;
// The length of a hydration task, in milliseconds, unless one piece takes longer.
const TASK_MILLIS = 5;
// The time after which a link is followed whose piece has not come, in milliseconds.
const HOLD_MILLIS = 5_000;
const COPIED_MILLIS = 2_000;
// The delays before the module is loaded again, in seconds. After the last one only a change of the network is waited for.
const RETRY_SECONDS = [1, 2, 4, 8, 15, 30];
const root = () => document.getElementById('page');
const hydrationState = () => document.documentElement.dataset.hydration;

// While text is composed with an input method, the field must not be replaced.
let isComposing = false;
addEventListener('compositionstart', () => (isComposing = true), true);
addEventListener('compositionend', () => (isComposing = false), true);
const compositionEnd = () =>
  isComposing && new Promise((resolve) => addEventListener('compositionend', () => setTimeout(resolve), { once: true, capture: true }));

// Saves what was entered, the focus and the scroll position; the returned function restores them. Spoilers are hidden again.
const fields = () => [...root().querySelectorAll('input:not([type=hidden], [type=file], .spoiler *), textarea')];
const nameOf = (field) => `${field.closest('form')?.getAttribute('action')} ${field.name || field.ariaLabel}`;
const saveInput = () => {
  const saved = fields().map((field) => {
    const isFocused = field === document.activeElement;
    const selection = isFocused && field.type !== 'checkbox' && [field.selectionStart, field.selectionEnd];
    return { name: nameOf(field), value: field.value, checked: field.checked, isFocused, selection };
  });
  const scrollTop = document.querySelector('[role=log]')?.scrollTop;
  const focused = document.activeElement;
  const sameElements = () => [...root().querySelectorAll(focused.localName)];
  const index = focused ? sameElements().indexOf(focused) : -1;
  return () => {
    if (scrollTop) document.querySelector('[role=log]')?.scrollTo({ top: scrollTop });
    if (index >= 0) sameElements()[index]?.focus({ preventScroll: true });
    for (const { name, value, checked, isFocused, selection } of saved) {
      const field = fields().find((field) => nameOf(field) === name);
      if (!field) continue;
      const isChanged = value !== field.value || checked !== field.checked;
      field.value = value;
      field.checked = checked;
      if (isChanged) field.dispatchEvent(new Event('input', { bubbles: true }));
      if (isFocused) field.focus({ preventScroll: true });
      if (selection) field.setSelectionRange(...selection);
    }
  };
};

// The time to load again what could not be loaded: after these seconds, or once the network has changed.
const timeToRetry = (seconds) =>
  new Promise((resolve) => {
    if (seconds) setTimeout(resolve, seconds * 1_000);
    addEventListener('online', resolve, { once: true });
  });

// Loads later.js, which loads the rest of the page when it is needed. Without it, links are ordinary ones.
const loadLater = async () => {
  const address = later.split(' ').find((file) => file.startsWith('/later.js'));
  for (let attempt = 0; address; attempt += 1) {
    try {
      return await import(attempt ? `${address}#again${attempt}` : address);
    } catch {
      await timeToRetry(RETRY_SECONDS[attempt]);
    }
  }
};
const PIECES = 'a[data-later], a[data-call]';
let loadedLater;
let isReady = false;
// A link of a piece that is clicked while the page is hydrated does what it does later; after a while it is followed.
let heldLink;
addEventListener('click', (event) => {
  const link = instance && !isReady && event.target instanceof Element && event.target.closest(PIECES);
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  heldLink = link;
  setTimeout(() => isReady || hydrationState() === 'failed' || location.assign(link.href), HOLD_MILLIS);
});
const showHydrated = async () => {
  setHydrationState('hydrated');
  const pieces = await loadedLater;
  pieces?.ready(instance, later);
  isReady = true;
  // the page may have been rendered anew
  const link = heldLink && [...root().querySelectorAll(PIECES)].find(({ href }) => href === heldLink.href);
  heldLink = null;
  link?.click();
};

// Saves the draft of a page that is not hydrated, unless it was sent.
let submittedForm;
addEventListener('submit', (event) => (submittedForm = !event.defaultPrevented && event.target));
addEventListener('pagehide', () => {
  const field = hydrationState() !== 'hydrated' && document.querySelector('textarea[name=body]');
  if (!field) return;
  const key = `draft ${field.form.elements.chat.value}`;
  try {
    if (field.form === submittedForm) sessionStorage.removeItem(key);
    else if (field.value) sessionStorage.setItem(key, field.value);
  } catch {}
});

// Returns whether the page has as many elements and comments as the server rendered: translators, password managers and filters
// may change a page before it is hydrated, and hydration needs it unchanged.
const isUnchanged = () => {
  const walker = document.createTreeWalker(root(), NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_COMMENT);
  let count = 0;
  while (walker.nextNode()) count += 1;
  return count === Number(root().dataset.nodes);
};
// The page as the server rendered it, used if no newer one can be fetched.
let serverPage;
// Whether the page cannot be hydrated any more and has to be rendered: something else has changed it, or hydration has failed.
// Only elements and comments count as changes: hydration_state.js changes the status text meanwhile.
let mustRender = false;
const isNotText = ({ nodeType }) => nodeType !== Node.TEXT_NODE;
const observer = new MutationObserver((changes) => {
  mustRender ||= changes.some(({ addedNodes, removedNodes }) => [...addedNodes, ...removedNodes].some(isNotText));
});

// Copies the code of a message, or selects it where there is no clipboard: on pages loaded without TLS.
addEventListener('click', async ({ target }) => {
  const button = target instanceof Element && target.closest('.copy-code');
  if (!button) return;
  const code = button.closest('.code').querySelector('pre');
  try {
    await navigator.clipboard.writeText(code.textContent);
    const label = button.textContent;
    button.textContent = 'Copied';
    setTimeout(() => (button.textContent = label), COPIED_MILLIS);
  } catch {
    getSelection().selectAllChildren(code);
  }
});

// Each instance of the module has its own copy of the script and its own memory, so a failed one is discarded as a whole.
let module;
let instance;
let instanceCount = 0;
const startInstance = async () => {
  instanceCount += 1;
  // the WASM is compiled once; a different fragment in the address makes the browser load another copy of the script
  const bindings = await import(instanceCount === 1 ? script : `${script}#${instanceCount}`);
  await bindings.default({ module_or_path: module });
  instance = bindings;
};
const stopInstance = (instance) => {
  try {
    instance?.stop();
  } catch {}
};

const nextTask = () => new Promise((resolve) => setTimeout(resolve, 0));
const USER_EVENTS = ['click', 'keydown', 'input', 'submit'];

// Hydrates the page piece by piece. If the user acts meanwhile, the rest is hydrated first, at once. Returns false if the page is
// not as the server rendered it.
const hydrate = async () => {
  observer.observe(root(), { childList: true, subtree: true });
  let hasBegun = false;
  let hasMore = true;
  const hydrateRest = () => {
    if (!hasBegun || !hasMore || mustRender) return;
    try {
      hydrateWhile(() => true);
    } catch {
      mustRender = true;
    }
  };
  // Continues while the condition is true. Ignores changes by the module itself, and all changes once the page is hydrated.
  const hydrateWhile = (condition) => {
    do hasMore = instance.advance();
    while (hasMore && condition());
    if (hasMore) observer.takeRecords();
    else observer.disconnect();
  };
  for (const event of USER_EVENTS) addEventListener(event, hydrateRest, true);
  try {
    await nextTask();
    instance.load();
    await nextTask();
    if (mustRender) return false;
    instance.hydrate();
    hasBegun = true;
    observer.takeRecords();
    while (hasMore) {
      await nextTask();
      if (mustRender) return false;
      const began = performance.now();
      hydrateWhile(() => document.hidden || performance.now() - began < TASK_MILLIS);
    }
    return true;
  } finally {
    for (const event of USER_EVENTS) removeEventListener(event, hydrateRest, true);
    observer.disconnect();
  }
};

// Whether the instance has failed. Errors in its tasks and promises are reported later, by events of the window.
let hasFailed = false;
const hasFailedByNow = async () => {
  await nextTask();
  return hasFailed;
};

// Restores what `saveInput` saved; set until a page that has it is complete.
let restoreInput;
// Renders the page from its data with a new instance.
const render = async () => {
  await compositionEnd();
  const last = instance;
  await startInstance();
  stopInstance(last);
  hasFailed = false;
  restoreInput ??= saveInput();
  root().replaceChildren();
  instance.load();
  instance.render();
  while (instance.advance());
  restoreInput();
  if (await hasFailedByNow()) throw new Error('rendered, and failed');
  restoreInput = null;
};

const fetchModule = async (attempt) => {
  const options = { cache: attempt ? 'reload' : 'default' };
  try {
    return await WebAssembly.compileStreaming(fetch(wasm, options));
  } catch {
    // streaming needs the right content type, which a proxy may have changed: compile after loading
    const response = await fetch(wasm, options);
    return WebAssembly.compile(await response.arrayBuffer());
  }
};
// Loads the module, and hydrates the page, or renders it if that is not possible. `attempt` is 0 for the first one.
const loadAndHydrate = async (attempt) => {
  const compiled = module ? null : fetchModule(attempt);
  // a retry uses another address, since browsers remember that an import failed
  const imported = import(instanceCount || !attempt ? script : `${script}#again${attempt}`);
  module ??= await compiled;
  const bindings = await imported;
  loadedLater ??= loadLater();
  if (!instanceCount) {
    instanceCount = 1;
    await bindings.default({ module_or_path: module });
    instance = bindings;
  }
  const isHydrated = isUnchanged() && (await hydrate().catch(() => false)) && !(await hasFailedByNow());
  if (!isHydrated) await render();
  showHydrated();
};

// Replaces a page that cannot be hydrated by one as the server renders it, without event listeners.
const giveUp = async (reason) => {
  let newPage;
  try {
    const response = await fetch(location.href, { signal: AbortSignal.timeout(10_000) });
    if (response.ok) newPage = new DOMParser().parseFromString(await response.text(), 'text/html').getElementById('page');
  } catch {}
  stopInstance(instance);
  restoreInput ??= saveInput();
  root().replaceWith(newPage ?? serverPage);
  restoreInput();
  setHydrationState('failed', 'Not live', `${reason} ${formsWork}`);
};

// Renders the page with a new instance after a failure, at most three times within a minute.
let failureTimes = [];
const handleFailure = ({ error, reason }) => {
  if (!((error ?? reason) instanceof WebAssembly.RuntimeError)) return;
  if (hydrationState() !== 'hydrated') return void (hasFailed = true);
  failureTimes = [...failureTimes.filter((time) => performance.now() - time < 60_000), performance.now()];
  setHydrationState('loading');
  const rendered = failureTimes.length > 3 ? Promise.reject() : render();
  rendered.then(() => void showHydrated()).catch(() => giveUp('Something on this page failed.'));
};
addEventListener('error', handleFailure);
addEventListener('unhandledrejection', handleFailure);

// Resolves after the first paint: the module, which preload.js has requested, is compiled only then, unless the page is in the
// background.
const firstPaint = () =>
  new Promise((resolve) => {
    setTimeout(resolve, PAINT_MILLIS);
    try {
      new PerformanceObserver(resolve).observe({ type: 'paint', buffered: true });
    } catch {}
  });
const domContentLoaded = () =>
  document.readyState === 'loading' && new Promise((resolve) => addEventListener('DOMContentLoaded', resolve, { once: true }));
(async () => {
  await domContentLoaded();
  serverPage = root().cloneNode(true);
  if (!document.hidden) await firstPaint();
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await loadAndHydrate(attempt);
    } catch (error) {
      // a file that was missing or incomplete may be available later
      const reason = 'A part of this page could not be loaded or run in this browser.';
      if (!self.WebAssembly || instanceCount) return giveUp(reason);
      const seconds = RETRY_SECONDS[attempt];
      if (seconds) showSlow();
      else setHydrationState('failed', 'Not live', `${reason} ${formsWork}`);
      await timeToRetry(seconds);
    }
  }
})();
})();
