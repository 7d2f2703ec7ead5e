// A tab that is open for long: what is far from what one reads is let go, comes back in pages, and costs nothing meanwhile.

import { type Person, expect, test } from '../support/story.ts';

test.use({ settings: { QCHAT_MESSAGE_RATE: 'off' } });

/** Says lines of these numbers over a socket of its own, as fast as the server takes them. */
const sayLines = (one: Person, from: number, to: number) =>
  one.page.evaluate(
    ([from, to]) =>
      new Promise<void>((resolve) => {
        const chat = location.pathname.split('/').pop();
        const line = new WebSocket(`ws://${location.host}/live`);
        line.onopen = () => {
          line.send(JSON.stringify({ hello: { version: 4 } }));
          for (let number = from; number <= to; number++) {
            const client_id = `${number}`.padStart(16, '0');
            line.send(JSON.stringify({ do: { request: number, command: { post: { chat, client_id, body: `line ${number}` } } } }));
          }
        };
        line.onmessage = ({ data }) => {
          if (JSON.parse(data).done?.request === to) {
            line.close();
            resolve();
          }
        };
      }),
    [from, to] as const,
  );

const elements = (one: Person) => one.chat.log.evaluate((log) => log.getElementsByTagName('*').length);

/** The numbers of the lines that are in the page. */
const shown = async (one: Person) => (await one.chat.texts()).map((text) => Number(text.slice('line '.length)));

const isWhole = (numbers: number[]) => numbers.every((number, place) => place === 0 || number === numbers[place - 1]! + 1);

test('after 5,000 messages a page is as large as it was, and one more costs what the first did', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  const cdp = await ana.page.context().newCDPSession(ana.page);
  await cdp.send('Performance.enable');
  // of the processor, whoever else has it meanwhile
  const busy = async () => (await cdp.send('Performance.getMetrics')).metrics.find(({ name }) => name === 'ThreadTime')!.value * 1_000;
  /** How many milliseconds the page is busy with each of twenty messages, in the middle of three rounds. */
  const cost = async (from: number) => {
    const rounds: number[] = [];
    for (const first of [from, from + 20, from + 40]) {
      const before = await busy();
      for (let number = first; number < first + 20; number++) await sayLines(bea, number, number);
      await expect(ana.chat.message(`line ${first + 19}`)).toBeInViewport();
      rounds.push(((await busy()) - before) / 20);
    }
    return rounds.sort((one, other) => one - other)[1]!;
  };
  const first = await cost(1);
  await sayLines(bea, 61, 5_000);
  // they were stored, and are yet to be shown
  await expect(ana.chat.message('line 5000')).toBeInViewport({ timeout: 60_000 });
  expect(await elements(ana)).toBeLessThanOrEqual(2_000);
  const last = await cost(5_001);
  test.info().annotations.push({ type: 'milliseconds for a message, at first and at last', description: `${first} ${last}` });
  expect(last).toBeLessThanOrEqual(Math.max(2 * first, 1));
  expect(last).toBeLessThanOrEqual(16);
  expect(isWhole(await shown(ana))).toBe(true);
});

test('a reader further up stays there while hundreds come, and reads on to the end of them', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  await sayLines(bea, 1, 60);
  await expect(ana.chat.message('line 60')).toBeInViewport();
  const scroll = (by: number) => ana.chat.log.evaluate((log, by) => log.scrollBy({ top: by, behavior: 'instant' }), by);
  const place = () => ana.chat.message('line 20').evaluate((row) => row.getBoundingClientRect().top);
  await ana.chat.message('line 20').scrollIntoViewIfNeeded();
  const before = await place();
  await sayLines(bea, 61, 500);
  await expect(ana.page).toHaveTitle(/^\(440\)/);
  expect(Math.abs((await place()) - before)).toBeLessThanOrEqual(1);
  expect(await elements(ana)).toBeLessThanOrEqual(2_000);
  await expect(ana.chat.message('line 500')).toHaveCount(0);

  await expect(async () => {
    await scroll(600);
    expect(isWhole(await shown(ana))).toBe(true);
    expect(await elements(ana)).toBeLessThanOrEqual(2_000);
    await expect(ana.chat.message('line 500')).toBeInViewport({ timeout: 1 });
  }).toPass({ intervals: [20] });
  await expect(ana.page.getByRole('link', { name: 'Later messages' })).toHaveCount(0);
  await expect(ana.page).not.toHaveTitle(/^\(/);

  // and back, from page to page, to where nothing is left of what was let go at the other end
  await expect(async () => {
    await scroll(-600);
    await expect(ana.chat.message('line 1')).toBeInViewport({ timeout: 1 });
  }).toPass({ intervals: [20] });
  await expect(ana.chat.message('line 500')).toHaveCount(0);
  await ana.page.getByRole('button', { name: 'Newest messages' }).click();
  await expect(ana.chat.message('line 500')).toBeInViewport();
  await expect(ana.chat.log).toBeFocused();
  await sayLines(bea, 501, 501);
  await expect(ana.chat.message('line 501')).toBeInViewport();
});

test('more than a page holds was missed: one press leads to the first of it', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  await sayLines(bea, 1, 10);
  await expect(ana.chat.message('line 10')).toBeInViewport();
  await ana.lookAway(true);
  await sayLines(bea, 11, 400);
  await expect(ana.page).toHaveTitle(/^\(390\)/);
  await ana.lookAway(false);
  await ana.chat.firstNew.click();
  await expect(ana.chat.message('line 11')).toBeInViewport();
  await expect(ana.chat.log.getByText('New', { exact: true })).toBeInViewport();
  await ana.chat.say('line 401');
  await expect(ana.chat.message('line 401')).toBeInViewport();
  expect(isWhole(await shown(ana))).toBe(true);
});
