import type { Page, WebSocketRoute } from '@playwright/test';
import { type Person, expect, test } from '../support/story.ts';

// Browsers log an error when a server cannot be reached.
test.use({ expected: { words: [/WebSocket connection to .* failed/, /ERR_CONNECTION_REFUSED/, /ERR_INTERNET_DISCONNECTED/] } });

test('a message is shown at once, and says that it is on its way until it is stored', async ({ person, server }) => {
  const ana = await person();
  await ana.startChat();
  server.freeze();
  await ana.chat.say('into the silence');
  const message = ana.chat.message('into the silence');
  await expect(message).toContainText('Sending');
  await expect(ana.chat.composer).toHaveValue('');
  server.thaw();
  await expect(message).toBeVisible();
  await expect(message).not.toContainText('Sending');
});

test('the server is killed and started again: open pages come back and nothing is lost', async ({ person, server }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  await ana.chat.say('before the crash');
  await expect(bea.chat.message('before the crash')).toBeVisible();

  await server.kill();
  await expect(ana.chat.connection).toHaveText('Reconnecting');
  await ana.chat.say('while it is down');
  await expect(ana.chat.message('while it is down')).toContainText('Sending');
  await server.startAgain();

  await ana.chat.isConnected();
  await bea.chat.isConnected();
  await bea.chat.say('after the crash');
  const everything = ['before the crash', 'while it is down', 'after the crash'];
  for (const one of [ana, bea]) {
    await expect.poll(async () => (await one.chat.texts()).sort()).toEqual([...everything].sort());
    await expect(one.chat.log.getByText('Sending')).toHaveCount(0);
    await expect(one.chat.members).toHaveCount(2);
  }
  expect(await ana.chat.texts()).toEqual(await bea.chat.texts());
  const cy = await person();
  await cy.open(link);
  expect(await cy.chat.texts()).toEqual(await ana.chat.texts());
});

test('offline is said, what is written is kept, and it goes out once', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat();
  const bea = await person();
  await bea.open(link);
  await bea.goOffline(true);
  await expect(bea.chat.connection).toHaveText('Offline');
  await bea.chat.say('from the tunnel');
  const waiting = bea.chat.message('from the tunnel');
  await expect(waiting).toContainText('Not sent. You are offline; it goes out when you are back.');
  await waiting.getByRole('button', { name: 'Retry' }).click();
  await expect(waiting).toContainText('Not sent.');
  await ana.chat.say('are you there');

  await bea.goOffline(false);
  await bea.chat.isConnected();
  await expect(ana.chat.message('from the tunnel')).toBeVisible();
  await expect(waiting).not.toContainText('Not sent');
  for (const one of [ana, bea]) {
    await expect.poll(() => one.chat.texts()).toEqual(['are you there', 'from the tunnel']);
  }
});

test('what waits survives leaving the page, and goes out once, in order', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat();
  const bea = await person();
  await bea.open(link);
  await bea.goOffline(true);
  await expect(bea.chat.connection).toHaveText('Offline');
  for (const text of ['first', 'second', 'third']) await bea.chat.say(text);
  await expect(bea.chat.message('third')).toContainText('Not sent.');
  await bea.visit('about:blank');
  await bea.goOffline(false);

  await bea.open(link);
  for (const one of [ana, bea]) {
    await expect.poll(() => one.chat.texts()).toEqual(['first', 'second', 'third']);
    await expect(one.chat.log.getByText(/Sending|Not sent/)).toHaveCount(0);
  }
  await bea.page.reload();
  await bea.chat.isConnected();
  await ana.chat.say('did you come through');
  for (const one of [ana, bea]) {
    await expect.poll(() => one.chat.texts()).toEqual(['first', 'second', 'third', 'did you come through']);
  }
});

test('a chat that is gone says so, and keeps what was written', async ({ person, server }) => {
  const ana = await person();
  await ana.startChat();
  await server.kill();
  await ana.chat.say('too late');
  await server.startAgain({ empty: true });
  await expect(ana.chat.alert).toContainText('This chat has ended');
  await expect(ana.chat.connection).toBeEmpty();
  const message = ana.chat.message('too late');
  await expect(message).toContainText('Not sent');
  // Controls that no longer work are hidden.
  await expect(message.getByRole('button', { name: 'Retry' })).toHaveCount(0);
  for (const gone of [ana.chat.composer, ana.chat.public, ana.chat.copyLink, ana.chat.editTitle]) {
    await expect(gone).toBeHidden();
  }
  await ana.page.getByRole('link', { name: 'Start a new chat' }).click();
  await expect(ana.home.start).toBeVisible();
});

test('what was begun in a chat that is gone can still be read and copied', async ({ person, server }) => {
  const ana = await person();
  await ana.startChat();
  await ana.chat.composer.fill('half a thought');
  await server.kill();
  await server.startAgain({ empty: true });
  await expect(ana.chat.alert).toContainText('This chat has ended');
  await expect(ana.chat.composer).toHaveValue('half a thought');
  await expect(ana.chat.composer).not.toBeEditable();
  await expect(ana.chat.send).toBeHidden();
});

test('without a server the page stays open instead of an error page of the browser, and what was filled in stays', async ({ person, server }) => {
  const ana = await person();
  const link = await ana.startChat({ title: 'Tea' });
  const bea = await person();
  await bea.visit('/');
  await bea.home.isConnected();
  await bea.home.title.fill('A title that took a while');
  await server.kill();
  for (const one of [ana.chat, bea.home]) await expect(one.connection).toHaveText('Reconnecting');
  await bea.home.start.click();
  await expect(bea.home.problem).toContainText('There is no connection just now');
  await bea.home.listing('Tea').getByRole('link').click();
  await expect(bea.home.problem).toHaveCount(2);
  await expect(bea.home.title).toHaveValue('A title that took a while');
  await ana.chat.goHome.click();
  await expect(ana.chat.alert).toContainText('There is no connection just now');
  expect(ana.page.url()).toBe(link);
  await server.startAgain();
  for (const one of [ana.chat, bea.home]) await one.isConnected();
  // Alerts are removed once their cause is gone.
  await expect(ana.chat.alert).toHaveCount(0);
  await expect(bea.home.problem).toHaveCount(0);
  await bea.home.start.click();
  await expect(bea.chat.heading).toHaveText('A title that took a while');
});

test('cookies are cleared while a page is open: it says so instead of retrying for ever', async ({ person, server }) => {
  const ana = await person();
  await ana.startChat();
  await ana.page.context().clearCookies();
  await server.kill();
  await server.startAgain();
  await expect(ana.chat.alert).toContainText('Allow cookies for this site');
  await ana.page.reload();
  await ana.chat.isConnected();
});

test('a message that was lost on the way is noticed with the next heartbeat, and requested', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat();
  const bea = await person();
  let lost: { chat: string; seq: number } | undefined;
  let page: WebSocketRoute | undefined;
  await bea.page.routeWebSocket(/\/live$/, (socket) => {
    page = socket;
    socket.connectToServer().onMessage((frame) => {
      const { event } = JSON.parse(frame.toString());
      if (event && !lost) lost = event;
      else socket.send(frame);
    });
  });
  await bea.open(link);
  await ana.chat.say('the one that is lost');
  await expect.poll(() => lost?.seq).toBeTruthy();
  expect(await bea.chat.texts()).toEqual([]);
  page?.send(JSON.stringify({ beat: [{ chat: lost?.chat, seq: lost?.seq }] }));
  await expect.poll(() => bea.chat.texts()).toEqual(['the one that is lost']);
});

/** Routes the WebSocket so that `cut` silently drops all frames of the first connection, without closing it. */
async function lineThatDies(page: Page): Promise<{ cut: () => void }> {
  let isDead = false;
  await page.routeWebSocket(/\/live$/, (socket) => {
    const isFirst = !isDead;
    const server = socket.connectToServer();
    server.onMessage((frame) => (isFirst && isDead ? undefined : socket.send(frame)));
    socket.onMessage((frame) => (isFirst && isDead ? undefined : server.send(frame)));
  });
  return { cut: () => (isDead = true) };
}

test('a connection that is open and dead is noticed within a minute by an idle page', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat();
  const bea = await person();
  await bea.page.clock.install();
  const line = await lineThatDies(bea.page);
  await bea.open(link);
  line.cut();
  await ana.chat.say('into the dead line');
  await bea.page.clock.runFor(60_000);
  await expect(bea.chat.message('into the dead line')).toBeVisible();
});

test('a dead connection is noticed within five seconds when a message is written', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat();
  const bea = await person();
  const line = await lineThatDies(bea.page);
  await bea.open(link);
  line.cut();
  await ana.chat.say('into the dead line');
  const began = Date.now();
  await bea.chat.say('from the dead line');
  for (const text of ['from the dead line', 'into the dead line']) {
    for (const one of [ana, bea]) await expect(one.chat.message(text)).toBeVisible({ timeout: 10_000 });
  }
  expect(Date.now() - began).toBeLessThan(6_000);
  expect((await ana.chat.texts()).filter((text) => text === 'from the dead line')).toHaveLength(1);
});

for (const [how, comeBack] of [
  ['looks at the page again', (one: Person) => one.lookAway(true).then(() => one.lookAway(false))],
  ['is online again', (one: Person) => one.page.evaluate(() => dispatchEvent(new Event('online')))],
  ['comes back to the page', (one: Person) => one.page.evaluate(() => dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true })))],
] as const) {
  test(`a dead connection is noticed within five seconds when the reader ${how}, even if the clock was set back`, async ({ person }) => {
    const ana = await person();
    const link = await ana.startChat();
    const bea = await person();
    // The clock is set back by three hours while the page is open.
    await bea.page.addInitScript(() => {
      const { now } = Date;
      Date.now = () => now() - ((window as unknown as { setBack?: boolean }).setBack ? 3 * 60 * 60 * 1_000 : 0);
    });
    const line = await lineThatDies(bea.page);
    await bea.open(link);
    line.cut();
    await bea.page.evaluate(() => Object.assign(window, { setBack: true }));
    await ana.chat.say('into the dead line');
    await comeBack(bea);
    await expect(bea.chat.message('into the dead line')).toBeVisible({ timeout: 5_000 });
  });
}

test('what is not known any more is not shown as known', async ({ person, server }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  await expect(bea.chat.members).toHaveCount(2);
  await ana.chat.composer.pressSequentially('typ');
  await expect(bea.chat.member('Ana')).toContainText('typing');
  await server.kill();
  await expect(bea.chat.member('Ana')).not.toContainText('typing');
  await expect(bea.chat.people).toHaveText('– people online');
  await expect(bea.page.getByRole('heading', { name: 'Two people here' })).toHaveCount(0);
  await server.startAgain();
  await expect(bea.chat.people).toHaveText('2 people online');
  await expect(bea.page.getByRole('heading', { name: 'Two people here' })).toBeVisible();
});

test('all pages reconnect within two seconds of the start of a server', async ({ person, server }) => {
  const people = [await person(), await person(), await person(), await person()];
  const link = await people[0]!.startChat();
  for (const one of people.slice(1)) await one.open(link);
  for (let time = 0; time < 2; time += 1) {
    await server.kill();
    for (const one of people) await expect(one.chat.connection).toHaveText('Reconnecting');
    // By then every page has reached its longest retry delay.
    await people[0]!.page.waitForTimeout(4_000);
    await server.startAgain();
    const began = Date.now();
    await Promise.all(people.map((one) => one.chat.isConnected()));
    expect(Date.now() - began).toBeLessThan(2_000);
  }
});

test('what was written on a page of another version goes out by itself when the page is loaded again', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat();
  const bea = await person();
  let isOld = false;
  await bea.page.routeWebSocket(/\/live$/, (socket) => {
    const server = socket.connectToServer();
    server.onMessage((frame) => socket.send(frame));
    socket.onMessage((frame) => {
      if (!isOld) return server.send(frame);
      socket.send(JSON.stringify({ refused: { code: 'unknown_version', message: 'Load the page again.' } }));
    });
  });
  await bea.open(link);
  isOld = true;
  await bea.chat.say('from before');
  await expect(bea.chat.message('from before')).toContainText('Not sent');
  isOld = false;
  await bea.page.getByRole('link', { name: 'Load again' }).click();
  await expect(ana.chat.message('from before')).toBeVisible();
  await expect(bea.chat.message('from before')).not.toContainText(/Sending|Not sent/);
});

test('a message that a busy server cannot take keeps its place before those behind it', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat();
  const bea = await person();
  let wasBusy = false;
  await bea.page.routeWebSocket(/\/live$/, (socket) => {
    const server = socket.connectToServer();
    server.onMessage((frame) => socket.send(frame));
    socket.onMessage((frame) => {
      const asked = JSON.parse(frame.toString()).do;
      if (!asked || wasBusy) return server.send(frame);
      wasBusy = true;
      const busy = { request: asked.request, code: 'busy', message: 'Qchat is very busy.', retry_after: 2 };
      socket.send(JSON.stringify({ refused: busy }));
    });
  });
  await bea.open(link);
  await bea.chat.say('first');
  await expect.poll(() => wasBusy).toBe(true);
  await bea.chat.say('second');
  await expect.poll(() => ana.chat.texts()).toEqual(['first', 'second']);
});
