import { expect, test } from '../support/story.ts';

const lines = (count: number) => Array.from({ length: count }, (_, index) => `line ${index + 1}`);

test('earlier messages come as the reader scrolls up, and the view does not jump', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat();
  await ana.chat.sayAll(lines(120));

  const bea = await person();
  await bea.open(link);
  await expect(bea.chat.message('line 120')).toBeInViewport();
  await expect(bea.chat.message('line 60')).toHaveCount(0);
  const top = () => bea.chat.message('line 80').evaluate((row) => Math.round(row.getBoundingClientRect().top));
  const scroll = (by: number) => bea.chat.log.evaluate((log, by) => log.scrollBy({ top: by, behavior: 'instant' }), by);
  await bea.chat.message('line 80').scrollIntoViewIfNeeded();
  await expect(bea.chat.message('line 60')).toBeAttached();
  const before = await top();
  await scroll(-10);
  expect(await top()).toBe(before + 10);

  for (let step = 0; step < 60 && (await bea.chat.message('line 1').count()) === 0; step++) await scroll(-400);
  await expect(bea.chat.message('line 1')).toBeAttached();
  await expect(bea.page.getByRole('link', { name: 'Earlier messages' })).toHaveCount(0);
  expect(await bea.chat.texts()).toEqual(lines(120));
});

test('messages that come before and after while a page is requested move nothing, and take no focus', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat();
  for (let number = 1; number <= 120; number++) await ana.chat.say(`line ${number}`);
  await expect(ana.chat.log.getByText('Sending')).toHaveCount(0);
  const bea = await person();
  const held: string[] = [];
  let letCome = () => {};
  await bea.page.routeWebSocket(/\/live$/, (line) => {
    line.connectToServer().onMessage((frame) => (frame.includes('{"earlier"') ? held.push(frame.toString()) : line.send(frame)));
    letCome = () => held.splice(0).forEach((frame) => line.send(frame));
  });
  await bea.open(link);
  const read = bea.chat.message('line 80');
  await bea.chat.row('line 80').reply.focus();
  const element = await read.elementHandle();
  await expect.poll(() => held.length).toBe(1);
  const top = () => read.evaluate((row) => row.getBoundingClientRect().top);
  const before = await top();
  for (let number = 121; number <= 124; number++) await ana.chat.say(`line ${number}`);
  await expect(bea.chat.message('line 124')).toBeAttached();
  letCome();
  await expect(bea.chat.message('line 60')).toBeAttached();
  expect(Math.abs((await top()) - before)).toBeLessThanOrEqual(1);
  expect(await read.evaluate((row, before) => row === before, element)).toBe(true);
  await expect(bea.chat.row('line 80').reply).toBeFocused();
  await bea.page.keyboard.press('ArrowUp');
  await expect(bea.chat.row('line 79').reply).toBeFocused();
});

test('earlier messages are a link away without JavaScript', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat();
  await ana.chat.sayAll(lines(60));
  const bea = await person({ javaScriptEnabled: false });
  await bea.open(link);
  await expect(bea.chat.message('line 1')).toHaveCount(0);
  await bea.page.getByRole('link', { name: 'Earlier messages' }).click();
  await expect(bea.chat.message('line 1')).toBeAttached();
  await expect(bea.chat.message('line 60')).toHaveCount(0);
  await bea.page.getByRole('link', { name: 'Newest messages' }).click();
  await expect(bea.chat.message('line 60')).toBeInViewport();
});
