// A page shows whether it is loading, live or not live. If its scripts or its WASM module fail, its forms work, and drafts are
// kept.

import type { Page } from '@playwright/test';
import { type Person, expect, test } from '../support/story.ts';

// The errors that browsers log for the failures caused here.
test.use({ expected: { words: [/Failed to load resource/, /RuntimeError|unreachable/, /WebAssembly/, /ERR_FAILED/, /Failed to fetch/, /expected magic word/, /closed before the connection is established/, /preloaded using link preload/] } });

/** A timeout longer than the five seconds after which a page that is still loading says so. */
const longerThanLoading = { timeout: 10_000 };

/** Checks a page that is not live: it says so, and its forms work. */
async function worksByForms(one: Person, other: Person): Promise<void> {
  await expect(one.chat.connection).toHaveText(/^Not live/, longerThanLoading);
  // Controls that need JavaScript are hidden.
  await expect(one.chat.copyLink).toBeHidden();
  await one.chat.composer.fill('by a form');
  await one.chat.send.click();
  await expect(other.chat.message('by a form')).toBeVisible();
  await expect(one.chat.message('by a form')).toBeVisible();
  await expect(one.chat.connection).toHaveText(/^Not live/, longerThanLoading);
  await one.chat.editTitle.click();
  await one.chat.title.fill('Called so by a form');
  await one.chat.save.click();
  await expect(other.chat.heading).toHaveText('Called so by a form');
}

/** The failures of loading after which a page is not hydrated: their descriptions, and how to cause them. */
const failures: [string, (page: Page) => Promise<unknown>][] = [
  ['the WASM is not there', (page) => page.route(/qchat\.wasm/, (route) => route.fulfill({ status: 404, body: '' }))],
  ['the script is not there', (page) => page.route(/qchat\.js/, (route) => route.fulfill({ status: 404, body: '' }))],
  ['what loads both is not there', (page) => page.route(/boot\.js/, (route) => route.fulfill({ status: 404, body: '' }))],
  ['the WASM never comes', (page) => page.route(/qchat\.wasm/, () => {})],
  [
    'the WASM is cut short',
    (page) =>
      page.route(/qchat\.wasm/, async (route) => {
        const response = await route.fetch();
        await route.fulfill({ response, body: (await response.body()).subarray(0, 10_000) });
      }),
  ],
  ['the browser knows no WASM', (page) => page.addInitScript(() => void delete (window as { WebAssembly?: unknown }).WebAssembly)],
];
for (const [what, cause] of failures) {
  test(`a page says that it is not hydrated, and works by its forms, where ${what}`, async ({ person }) => {
    const ana = await person();
    const link = await ana.startChat({ nickname: 'Ana' });
    const tab = await ana.page.context().newPage();
    await cause(tab);
    await tab.goto(link);
    await worksByForms(new ((ana.constructor) as typeof Person)(tab, ana.server), ana);
    await tab.unrouteAll({ behavior: 'ignoreErrors' });
  });
}

test('a page is hydrated as soon as what was missing is there, with what was begun meanwhile', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  let isThere = false;
  await bea.page.route(/qchat\.wasm/, (route) => (isThere ? route.continue() : route.fulfill({ status: 404, body: '' })));
  await bea.page.goto(link);
  await bea.chat.composer.fill('half a thought');
  await expect(bea.chat.connection).toHaveText(/^Not live/);
  isThere = true;
  await bea.chat.isConnected();
  await expect(bea.chat.composer).toHaveValue('half a thought');
  await bea.chat.composer.press('Enter');
  await expect(ana.chat.message('half a thought')).toBeVisible();
});

/** Makes the WASM module fail as a panic does, by throwing a `RuntimeError`. */
const fail = async (page: Page) => {
  await page.waitForFunction(() => document.documentElement.dataset.hydration === 'hydrated');
  await page.evaluate(
    () =>
      new Promise((done) =>
        setTimeout(() => {
          // Continues after the error event was handled.
          setTimeout(done);
          throw new WebAssembly.RuntimeError('unreachable');
        }),
      ),
  );
};

test('a page whose code fails begins anew, and loses nothing', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  await bea.chat.say('before');
  await expect(ana.chat.message('before')).toBeVisible();
  await bea.chat.composer.fill('half a thought');
  await ana.chat.say('from Ana');
  await expect(bea.chat.message('from Ana')).toBeVisible();
  await fail(bea.page);
  await expect.poll(() => bea.page.evaluate(() => document.documentElement.dataset.hydration)).toBe('hydrated');
  await bea.chat.isConnected();
  await expect(bea.chat.composer).toHaveValue('half a thought');
  await expect(bea.chat.composer).toBeFocused();
  await expect.poll(() => bea.chat.texts()).toEqual(['before', 'from Ana']);
  await bea.chat.composer.press('Enter');
  await expect(ana.chat.message('half a thought')).toBeVisible();
  await ana.chat.say('after');
  await expect.poll(() => bea.chat.texts()).toEqual(['before', 'from Ana', 'half a thought', 'after']);
  await expect(ana.chat.members).toHaveCount(2);
});

test('a page whose code fails again and again works by its forms, and says so', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const tab = await ana.newTab(link);
  await tab.chat.composer.fill('half a thought');
  for (let time = 1; time <= 4; time += 1) {
    await fail(tab.page);
    if (time < 4) await tab.chat.isConnected();
  }
  await expect(tab.chat.connection).toHaveText('Not live');
  await expect(tab.chat.composer).toHaveValue('half a thought');
  await expect(tab.chat.copyLink).toBeHidden();
  await tab.chat.send.click();
  await expect(ana.chat.message('half a thought')).toBeVisible();
  // After the reload the page is live again, and the message that was sent is not restored as a draft.
  await tab.chat.isConnected();
  await expect(tab.chat.composer).toHaveValue('');
});

test('a page whose code fails while the server cannot answer keeps what was begun, and says so', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const tab = await ana.newTab(link);
  await tab.chat.composer.fill('half a thought');
  await tab.page.route(link, (route) => route.fulfill({ status: 502, body: 'Bad gateway' }));
  for (let time = 1; time <= 4; time += 1) {
    await fail(tab.page);
    if (time < 4) await tab.chat.isConnected();
  }
  await expect(tab.chat.connection).toHaveText('Not live');
  await expect(tab.chat.composer).toHaveValue('half a thought');
  await tab.page.unrouteAll({ behavior: 'ignoreErrors' });
  await tab.chat.send.click();
  await expect(ana.chat.message('half a thought')).toBeVisible();
});

test('what was typed before the page is hydrated is kept when the page is left', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.page.route(/qchat\.wasm/, () => {});
  await bea.page.goto(link);
  await bea.chat.composer.fill('half a thought');
  await bea.visit('/');
  await bea.page.unrouteAll({ behavior: 'ignoreErrors' });
  await bea.open(link);
  await expect(bea.chat.composer).toHaveValue('half a thought');
});

test('a page that nothing changed is hydrated as it is', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  await ana.chat.say('something to see');
  const bea = await person();
  for (const address of [link, new URL('/', link).href]) {
    const pausedRequests: (() => void)[] = [];
    await bea.page.route(/qchat\.wasm/, (route) => void pausedRequests.push(() => void route.continue()));
    // Each piece is hydrated in a task of its own, as on a slow phone.
    await bea.page.addInitScript(() => {
      let now = 0;
      performance.now = () => (now += 10);
    });
    await bea.page.goto(address);
    const elements = await bea.page.evaluate(() => {
      const all = [...document.querySelectorAll('#page *')];
      for (const element of all) (element as Element & { isFromServer?: boolean }).isFromServer = true;
      return all.length;
    });
    await expect.poll(() => pausedRequests.length).toBe(1);
    pausedRequests[0]!();
    await bea.chat.isConnected();
    const kept = await bea.page.evaluate(() => [...document.querySelectorAll('#page *')].filter((element) => (element as Element & { isFromServer?: boolean }).isFromServer).length);
    expect(kept).toBeGreaterThan(elements * 0.9);
    await bea.page.unrouteAll({ behavior: 'ignoreErrors' });
  }
});

test('hydration leaves the focus and the selection where they are', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  await ana.chat.say('something to select');
  const bea = await person();
  const pausedRequests: (() => void)[] = [];
  await bea.page.route(/qchat\.wasm/, (route) => void pausedRequests.push(() => void route.continue()));
  await bea.page.goto(link);
  await bea.page.evaluate(() => {
    const text = document.querySelector('[role=log] .body')!.firstChild!;
    getSelection()!.setBaseAndExtent(text, 0, text, 9);
  });
  await expect.poll(() => pausedRequests.length).toBe(1);
  pausedRequests[0]!();
  await bea.chat.isConnected();
  await expect(bea.chat.composer).not.toBeFocused();
  expect(await bea.page.evaluate(() => getSelection()!.toString())).toBe('something');
  await bea.page.reload();
  await bea.chat.goHome.focus();
  await expect.poll(() => pausedRequests.length).toBe(2);
  pausedRequests[1]!();
  await bea.chat.isConnected();
  await expect(bea.chat.goHome).toBeFocused();
});

test('a user who stops a page load, or comes back to a page, can start again', async ({ person }) => {
  const ana = await person();
  await ana.visit('/');
  await ana.home.isConnected();
  // Aborts the request, as the stop button of the browser does.
  await ana.page.route(/start_chat/, (route) => route.abort('aborted'), { times: 1 });
  await ana.home.start.click();
  await ana.page.evaluate(() => dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })));
  await ana.home.isConnected();
  await ana.home.start.click();
  await ana.chat.isOpen();
});
