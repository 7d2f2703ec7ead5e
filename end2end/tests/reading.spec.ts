// Reading on: the line of what is new and its count, over a reload and in a second tab; and days that lead to their messages.

import { type Newcomer, type Person, expect, test } from '../support/story.ts';

test.use({ settings: { QCHAT_MESSAGE_RATE: 'off' } });

const missed = (count: number) => Array.from({ length: count }, (_, index) => `missed ${index + 1}`);

/** Two people in a chat, and what the second has said was seen by the first. */
async function two(person: Newcomer): Promise<{ ana: Person; bea: Person; link: string }> {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana', title: 'Tea' });
  const bea = await person();
  await bea.open(link);
  await bea.chat.say('seen');
  await expect(ana.chat.message('seen')).toBeVisible();
  await expect(ana.page).toHaveTitle('Tea · Qchat');
  // It is saved once a second.
  await expect.poll(() => savedSeen(ana, link)).toBe(await placeOf(ana, 'seen'));
  return { ana, bea, link };
}

/** Returns how far a chat was read in a browser. */
async function savedSeen(one: Person, link: string): Promise<number> {
  const saved = await one.page.evaluate((key) => localStorage.getItem(key), `read ${link.split('/').at(-1)}`);
  return Number(saved?.split(' ')[1]);
}

async function placeOf(one: Person, text: string): Promise<number> {
  return Number(await one.chat.message(text).locator('.actions').getAttribute('data-seq'));
}

/** Expects the line to be between two messages. */
async function expectLine(one: Person, before: string, after: string): Promise<void> {
  await expect(one.chat.newLine).toHaveCount(1);
  const order = await one.chat.log.getByRole('listitem').allInnerTexts();
  const line = order.indexOf('New');
  expect(order[line - 1]).toContain(before);
  expect(order[line + 1]).toContain(after);
}

test('what came while the page was closed begins below a line', async ({ person }) => {
  const { ana, bea, link } = await two(person);
  await ana.page.goto('about:blank');
  await bea.chat.say('missed one');
  await bea.chat.say('missed two');
  await expect(bea.chat.message('missed two')).not.toContainText('Sending');
  await ana.open(link);
  await expectLine(ana, 'seen', 'missed one');
  await expect(ana.page).toHaveTitle('Tea · Qchat');
  await ana.chat.say('an answer');
  await expect(ana.chat.newLine).toHaveCount(0);

  await ana.page.reload();
  await ana.chat.isOpen();
  await expect(ana.chat.message('an answer')).toBeVisible();
  await expect(ana.chat.newLine).toHaveCount(0);
});

test('the count holds over a reload, until the reader has reached the line', async ({ person }) => {
  const { ana, bea } = await two(person);
  await ana.lookAway(true);
  await bea.chat.sayAll(missed(30));
  await expect(ana.page).toHaveTitle('(30) Tea · Qchat');
  await ana.page.reload();
  await ana.chat.isOpen();
  await expect(ana.page).toHaveTitle('(30) Tea · Qchat');
  await expect(ana.chat.message('missed 30')).toBeInViewport();
  await ana.page.reload();
  await ana.chat.isOpen();
  await expect(ana.page).toHaveTitle('(30) Tea · Qchat');
  await ana.chat.firstNew.click();
  await expect(ana.chat.message('missed 1')).toBeInViewport({ ratio: 1 });
  await expect(ana.chat.firstNew).toHaveCount(0);
  await ana.page.getByRole('button', { name: 'New messages' }).click();
  await expect(ana.page).toHaveTitle('Tea · Qchat');
});

test('what is further up than the page is counted by the server', async ({ person }) => {
  const { ana, bea, link } = await two(person);
  await ana.page.goto('about:blank');
  await bea.chat.sayAll(missed(130));
  await ana.open(link);
  await expect(ana.page).toHaveTitle('(130) Tea · Qchat');
  await ana.chat.firstNew.click();
  await expect(ana.chat.message('missed 1')).toBeInViewport();
  await expectLine(ana, 'seen', 'missed 1');
});

test('what is read in one tab is read in the other', async ({ person }) => {
  const { ana, bea, link } = await two(person);
  const other = await ana.newTab(link);
  await ana.lookAway(true);
  await other.lookAway(true);
  await bea.chat.say('missed one');
  await expect(ana.page).toHaveTitle('(1) Tea · Qchat');
  await expect(other.page).toHaveTitle('(1) Tea · Qchat');
  await other.lookAway(false);
  await expect(other.page).toHaveTitle('Tea · Qchat');
  await expect(ana.page).toHaveTitle('Tea · Qchat');
  await expect(ana.chat.newLine).toHaveCount(1);
});

test('a browser in which the chat was not read before shows no line', async ({ person }) => {
  const { bea, link } = await two(person);
  await bea.chat.say('more');
  const eve = await person();
  await eve.open(link);
  await expect(eve.chat.message('more')).toBeVisible();
  await expect(eve.chat.newLine).toHaveCount(0);
  await expect(eve.page).toHaveTitle('Tea · Qchat');
});

test('what is saved is ignored where it is of another log or not readable', async ({ person }) => {
  const { ana, link } = await two(person);
  const key = `read ${link.split('/').at(-1)}`;
  for (const saved of ['0000000000000000 1 1', 'nonsense']) {
    await ana.page.evaluate(([key, saved]) => localStorage.setItem(key!, saved!), [key, saved]);
    await ana.page.reload();
    await ana.chat.isOpen();
    await expect(ana.chat.message('seen')).toBeVisible();
    await expect(ana.chat.newLine).toHaveCount(0);
  }
});

test('a day leads to its first message, from wherever in it the reader is', async ({ person }) => {
  const { ana, bea, link } = await two(person);
  await bea.chat.sayAll(missed(130));
  await ana.page.goto(link);
  await ana.chat.isOpen();
  await expect(ana.chat.message('missed 130')).toBeInViewport();
  await expect(ana.chat.message('seen')).toHaveCount(0);
  await expect(ana.chat.days).toHaveText('Today');
  await ana.chat.days.click();
  await expect(ana.chat.message('seen')).toBeInViewport();
  await expect(ana.page).toHaveURL(link);
});

test('a day leads to its first message without a script', async ({ person }) => {
  const { bea, link } = await two(person);
  await bea.chat.sayAll(missed(60));
  const eve = await person({ javaScriptEnabled: false });
  await eve.open(link);
  await expect(eve.chat.message('seen')).toHaveCount(0);
  await eve.chat.days.first().click();
  await expect(eve.chat.message('seen')).toBeAttached();
  await expect(eve.chat.message('missed 60')).toHaveCount(0);
});
