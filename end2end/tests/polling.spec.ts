// A network in which HTTP requests work and WebSockets do not.

import type { Page } from '@playwright/test';
import { expect, test } from '../support/story.ts';

test.use({ expected: { words: [/WebSocket connection to .* failed/, /Failed to load resource/] } });

/** Makes all WebSockets fail, as behind some proxies, and records the time of each attempt. */
const refuseSockets = (page: Page) =>
  page.addInitScript(() => {
    const { WebSocket } = window;
    const dials: number[] = ((window as unknown as { dials: number[] }).dials = []);
    window.WebSocket = class extends WebSocket {
      constructor() {
        super(`ws://${location.host}/no-such-address`);
        dials.push(Date.now());
      }
    } as typeof WebSocket;
  });

test('a page says that it is not live, and does all it does', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana', title: 'Tea at five' });
  const bea = await person();
  await refuseSockets(bea.page);
  await bea.page.goto(link);
  await bea.chat.composer.fill('written before');
  await bea.chat.composer.press('Enter');
  await expect(ana.chat.message('written before')).toBeVisible({ timeout: 10_000 });
  await expect(bea.chat.connection).toHaveText('Connected, but not live');
  await expect(bea.chat.message('written before')).not.toContainText(/Sending|Not sent/);
  for (const text of ['one', 'two', 'three']) await bea.chat.say(text);
  await ana.chat.say('from Ana');
  const everything = ['written before', 'one', 'two', 'three', 'from Ana'];
  for (const one of [ana, bea]) await expect.poll(async () => (await one.chat.texts()).sort()).toEqual([...everything].sort());
  expect(await bea.chat.texts()).toEqual(await ana.chat.texts());
  // Messages in the viewport are not counted as unread.
  await expect(bea.page).toHaveTitle('Tea at five · Qchat');
  await bea.chat.editNickname.click();
  await bea.chat.nickname.fill('Bea');
  await bea.chat.save.click();
  await expect(bea.chat.member('Bea')).toBeVisible();

  await bea.chat.goHome.click();
  await expect(bea.home.connection).toHaveText('Connected, but not live', { timeout: 10_000 });
  await ana.startChat({ title: 'Coffee' });
  await expect(bea.home.listing('Coffee')).toBeVisible({ timeout: 10_000 });
  // The list does not move under the pointer during further polls.
  await bea.home.listing('Coffee').hover();
  const looks = async (more: number) => {
    for (let look = 0; look < more; look += 1) await bea.page.waitForResponse((response) => new URL(response.url()).pathname === '/');
  };
  await looks(1);
  await ana.startChat({ title: 'Juice' });
  await looks(2);
  await expect(bea.home.listing('Juice')).toHaveCount(0);
  await bea.page.mouse.move(0, 0);
  await expect(bea.home.listing('Juice')).toBeVisible();
  await bea.home.title.fill('Mine');
  await bea.home.start.click();
  await expect(bea.chat.heading).toHaveText('Mine');
});

test.describe('with few connections in a minute', () => {
  test.use({ settings: { QCHAT_CONNECT_RATE: '2/m' } });

  test('a page that connects too often waits as it is told', async ({ person }) => {
    const ana = await person();
    await ana.startChat({ nickname: 'Ana' });
    for (let time = 0; time < 2; time += 1) await ana.page.reload();
    await ana.page.evaluate(() => {
      const dials: string[] = ((window as unknown as { dials: string[] }).dials = []);
      new PerformanceObserver(() => {}).observe({ type: 'resource' });
      const { WebSocket } = window;
      window.WebSocket = class extends WebSocket {
        constructor(url: string) {
          super(url);
          dials.push(url);
        }
      } as typeof WebSocket;
    });
    await ana.chat.say('while nobody may connect');
    await expect(ana.chat.connection).toHaveText('Connected, but not live', { timeout: 10_000 });
    await expect(ana.chat.message('while nobody may connect')).not.toContainText(/Sending|Not sent/);
    await ana.page.waitForTimeout(3_000);
    expect(await ana.page.evaluate(() => (window as unknown as { dials: string[] }).dials.length)).toBeLessThan(6);
  });
});
