// Behaviour that differs between engines: scrolling, text areas that grow, and the state of a page restored from history.

import { type Visitor, expect, inEngines } from '../support/engine_story.ts';

const numbered = (word: string, from: number, to: number) => Array.from({ length: to - from + 1 }, (_, place) => `${word} ${from + place}`);

/** Scrolls the messages up by a number of pixels. Returns after the next scroll event. */
async function scrollUp(one: Visitor, pixels: number): Promise<void> {
  await one.page.evaluate(
    (pixels) =>
      new Promise<void>((resolve) => {
        const log = document.querySelector('[role=log]')!;
        log.addEventListener('scroll', () => requestAnimationFrame(() => resolve()), { once: true });
        log.scrollBy({ top: -pixels, behavior: 'instant' });
      }),
    pixels,
  );
}

/** Returns the distance of a message from the top of the viewport, in pixels. */
const place = (one: Visitor, text: string) => one.chat.message(text).evaluate((message) => message.getBoundingClientRect().top);

inEngines(['Chromium', 'Firefox', 'WebKit'], (test) => {
  test('what is being read stays in its place, whatever comes below', async ({ person, visitor }) => {
    const bea = await person();
    const link = await bea.startChat();
    await bea.chat.sayAll(numbered('line', 101, 140));
    const ana = await visitor();
    await ana.open(link);
    await ana.chat.message('line 140').isThere();
    await scrollUp(ana, 500);
    const before = await place(ana, 'line 125');
    await bea.chat.sayAll(numbered('line', 141, 146));
    await ana.chat.message('line 146').isThere();
    expect(Math.abs((await place(ana, 'line 125')) - before)).toBeLessThanOrEqual(2);
  });

  test('the composer shows all of five lines, and is as low as before once they are sent', async ({ visitor }) => {
    const ana = await visitor();
    await ana.startChat();
    const height = () => ana.chat.composer.evaluate((field) => field.clientHeight);
    const low = await height();
    for (const word of ['one', 'two', 'three', 'four', 'five']) {
      if (word !== 'one') await ana.page.press('Shift+Enter');
      await ana.chat.composer.type(word);
    }
    const hidden = await ana.chat.composer.evaluate((field) => field.scrollHeight - field.clientHeight);
    expect(hidden).toBeLessThanOrEqual(1);
    expect(await height()).toBeGreaterThan(3 * low);
    await ana.page.press('Enter');
    await expect.poll(height).toBe(low);
  });

  test('a user who goes back to the start form can start another chat', async ({ visitor }) => {
    const ana = await visitor();
    const first = await ana.startChat({ title: 'Tea' });
    await ana.page.goBack();
    await ana.home.isConnected();
    await ana.home.title.fill('Coffee');
    await ana.home.start.click();
    await ana.chat.heading.says('Coffee');
    expect(await ana.page.url()).not.toBe(first);
  });
});
