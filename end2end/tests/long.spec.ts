// Long chats: messages far from the viewport are unloaded, cost nothing meanwhile, and are loaded again in pages.

import { type Person, expect, test } from '../support/story.ts';

test.use({ settings: { QCHAT_MESSAGE_RATE: 'off' } });

/** Posts the messages `line from` to `line to` over a separate WebSocket, as fast as the server accepts them. */
const sayLines = (one: Person, from: number, to: number) =>
  one.page.evaluate(
    ([from, to]) =>
      new Promise<void>((resolve) => {
        const chat = location.pathname.split('/').pop();
        const line = new WebSocket(`ws://${location.host}/live`);
        line.onopen = () => {
          line.send(JSON.stringify({ hello: { version: 5 } }));
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

/** Returns a function that reads the CPU time of the main thread of a page, in milliseconds. Other processes do not count. */
const stopwatch = async (one: Person) => {
  const cdp = await one.page.context().newCDPSession(one.page);
  await cdp.send('Performance.enable');
  return async () =>
    (await cdp.send('Performance.getMetrics')).metrics.find(({ name }) => name === 'ThreadTime')!.value * 1_000;
};

/** Returns the numbers of the messages in the page. */
const shown = async (one: Person) => (await one.chat.texts()).map((text) => Number(text.slice('line '.length)));

const isWhole = (numbers: number[]) => numbers.every((number, place) => place === 0 || number === numbers[place - 1]! + 1);

test('after 5,000 messages a page is as large as it was, and one more costs what it costs in a new chat', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  await sayLines(bea, 1, 5_000);
  // All are stored by now, but not all are shown.
  await expect(ana.chat.message('line 5000')).toBeInViewport({ timeout: 60_000 });
  expect(await elements(ana)).toBeLessThanOrEqual(2_000);

  const cal = await person();
  const another = await cal.startChat({ nickname: 'Cal' });
  const dan = await person();
  await dan.open(another);
  const [inLong, inNew] = [await stopwatch(ana), await stopwatch(cal)];
  /** Returns the CPU time for a message, in milliseconds: the mean of twenty. */
  const cost = async (busy: () => Promise<number>, author: Person, reader: Person, from: number) => {
    const before = await busy();
    for (let number = from; number < from + 20; number++) await sayLines(author, number, number);
    await expect(reader.chat.message(`line ${from + 19}`)).toBeInViewport();
    return ((await busy()) - before) / 20;
  };
  // Both chats are measured in turns, since the speed of a machine varies.
  const rounds: { long: number; ratio: number }[] = [];
  for (const from of [1, 21, 41, 61, 81]) {
    const fresh = await cost(inNew, dan, cal, from);
    const long = await cost(inLong, bea, ana, 5_000 + from);
    rounds.push({ long, ratio: long / fresh });
  }
  const middle = (of: 'long' | 'ratio') => rounds.map((round) => round[of]).sort((one, other) => one - other)[2]!;
  test.info().annotations.push({ type: 'rounds', description: JSON.stringify(rounds) });
  expect(middle('ratio')).toBeLessThanOrEqual(2);
  expect(middle('long')).toBeLessThanOrEqual(16);
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

  // Scrolls back to the beginning, page by page, until the newest messages are unloaded.
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
