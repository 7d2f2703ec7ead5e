// Answering a message: by mouse, by keys, on a phone, without a script; what happens to an answer when what it answers goes;
// and the addresses of messages.

import { AxeBuilder } from '@axe-core/playwright';
import { type Newcomer, type Person, expect, test } from '../support/story.ts';

test.use({ settings: { QCHAT_MESSAGE_RATE: 'off' } });

const QUESTION = 'Tea at five?';
const lines = (count: number) => Array.from({ length: count }, (_, index) => `line ${index + 1}`);

/** Two people in a chat in which the first has asked something. */
async function two(person: Newcomer, options?: Parameters<Newcomer>[0]): Promise<{ ana: Person; bea: Person; link: string }> {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana', title: 'Tea' });
  await ana.chat.say(QUESTION);
  await expect(ana.chat.message(QUESTION)).not.toContainText('Sending');
  const bea = await person(options);
  await bea.open(link);
  await expect(bea.chat.message(QUESTION)).toBeVisible();
  return { ana, bea, link };
}

/** Returns the position of a message in the log of the server. */
async function placeOf(one: Person, text: string): Promise<number> {
  return Number(await one.chat.message(text).locator('.actions').getAttribute('data-seq'));
}

test('an answer has a line of what it answers, which leads there', async ({ person }) => {
  const { ana, bea } = await two(person);
  await bea.chat.row(QUESTION).beginReply();
  await expect(bea.chat.composer).toBeFocused();
  await expect(bea.chat.answering).toContainText(`In reply to Ana: ${QUESTION}`);
  const { violations } = await new AxeBuilder({ page: bea.page }).analyze();
  expect(violations.map(({ id }) => id)).toEqual([]);
  await bea.chat.say('Gladly');
  await expect(bea.chat.cancelReply).toHaveCount(0);

  for (const one of [ana, bea]) {
    const answer = one.chat.row('Gladly');
    await expect(answer.inReplyTo('Ana')).toBeVisible();
    await expect(answer.inReplyTo('Ana')).toContainText(QUESTION);
  }
  await ana.chat.sayAll(lines(40));
  await ana.chat.row('Gladly').inReplyTo('Ana').click();
  await expect(ana.chat.message(QUESTION)).toBeInViewport();
  await expect(ana.chat.message(QUESTION)).toHaveAttribute('aria-current', 'true');
  await expect(ana.chat.row(QUESTION).reply).toBeFocused();
  await ana.page.reload();
  await ana.chat.isOpen();
  await expect(ana.chat.row('Gladly').inReplyTo('Ana')).toHaveCount(1);
});

test('an answer is cancelled by its button or by Escape, and the next message answers nothing', async ({ person }) => {
  const { bea } = await two(person);
  await bea.chat.row(QUESTION).beginReply();
  await bea.chat.composer.fill('something else');
  await bea.chat.cancelReply.click();
  await expect(bea.chat.cancelReply).toHaveCount(0);
  await expect(bea.chat.composer).toBeFocused();
  await expect(bea.chat.composer).toHaveValue('something else');
  await bea.chat.row(QUESTION).beginReply();
  await expect(bea.chat.cancelReply).toBeVisible();
  await bea.page.keyboard.press('Escape');
  await expect(bea.chat.cancelReply).toHaveCount(0);
  await bea.page.keyboard.press('Enter');
  await expect(bea.chat.message('something else')).not.toContainText('Sending');
  await expect(bea.chat.row('something else').inReply).toHaveCount(0);
});

test('a message is answered by keys alone', async ({ person }) => {
  const { ana, bea } = await two(person);
  const row = bea.chat.row(QUESTION);
  await row.reply.focus();
  await bea.page.keyboard.press('r');
  await expect(bea.chat.composer).toBeFocused();
  await bea.page.keyboard.type('by keys');
  await bea.page.keyboard.press('Enter');
  await expect(ana.chat.row('by keys').inReplyTo('Ana')).toBeVisible();

  await row.reply.focus();
  await bea.page.keyboard.press('Enter');
  await expect(bea.chat.answering).toBeVisible();
  await bea.chat.cancelReply.focus();
  await bea.page.keyboard.press('Space');
  await expect(bea.chat.answering).toHaveCount(0);
  await bea.chat.row('by keys').inReplyTo('Ana').focus();
  await bea.page.keyboard.press('Enter');
  await expect(row.reply).toBeFocused();
});

test('on a phone, a held touch has "Reply" among the actions', async ({ person }) => {
  const { ana, bea } = await two(person, { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true });
  const row = bea.chat.row(QUESTION);
  await row.hold(() => expect(row.menu).toBeVisible());
  await row.item('Reply').tap();
  await expect(bea.chat.answering).toBeVisible();
  await bea.chat.say('from the bus');
  await expect(ana.chat.row('from the bus').inReplyTo('Ana')).toBeVisible();
});

test('an answer is written by a form without a script', async ({ person }) => {
  const { ana, bea, link } = await two(person, { javaScriptEnabled: false });
  await bea.chat.row(QUESTION).reply.click();
  await expect(bea.chat.answering).toContainText(QUESTION);
  await bea.chat.cancelReply.click();
  await expect(bea.page).toHaveURL(link);
  await expect(bea.chat.answering).toHaveCount(0);
  await bea.chat.row(QUESTION).reply.click();
  await bea.chat.composer.fill('by a form');
  await bea.chat.send.click();
  await expect(bea.page).toHaveURL(link);
  await expect(ana.chat.row('by a form').inReplyTo('Ana')).toBeVisible();

  await ana.chat.sayAll(lines(60));
  await expect(ana.chat.message('line 60')).not.toContainText('Sending');
  await bea.page.goto(link);
  await expect(bea.chat.message('by a form')).toHaveCount(0);
  await bea.page.getByRole('link', { name: 'Earlier messages' }).click();
  await bea.chat.row('by a form').inReplyTo('Ana').click();
  await expect(bea.chat.message(QUESTION)).toHaveAttribute('id', 'at');
  await expect(bea.chat.message(QUESTION)).toHaveAttribute('aria-current', 'true');
});

test('what an answer shows follows what it answers', async ({ person }) => {
  const { ana, bea } = await two(person);
  await bea.chat.reply(QUESTION, 'Gladly');
  const answer = bea.chat.row('Gladly');
  await ana.chat.row(QUESTION).openMore();
  await ana.chat.row(QUESTION).item('Remove message').click();
  await expect(answer.inReply).toHaveCount(0);
  await expect(answer.row).toContainText('In reply to a message that is gone');
  await bea.page.reload();
  await bea.chat.isOpen();
  await expect(answer.row).toContainText('In reply to a message that is gone');
});

test('what is answered may be removed meanwhile: it is said, and what was written goes out without the answer', async ({ person }) => {
  const { ana, bea } = await two(person);
  await bea.chat.row(QUESTION).beginReply();
  await bea.chat.composer.fill('Gladly');
  await ana.chat.row(QUESTION).openMore();
  await ana.chat.row(QUESTION).item('Remove message').click();
  await expect(bea.chat.answering).toContainText('That message was removed.');
  await bea.chat.composer.press('Enter');
  await expect(ana.chat.message('Gladly')).toBeVisible();
  await expect(ana.chat.message('Gladly')).not.toContainText('In reply to');
});

test('an answer that waits while what it answers is removed is kept, and sent without it on Retry', async ({ person, expected }) => {
  expected.words = [/WebSocket connection to .* failed/, /ERR_INTERNET_DISCONNECTED/];
  const { ana, bea } = await two(person);
  await bea.chat.row(QUESTION).beginReply();
  await bea.goOffline(true);
  await expect(bea.chat.connection).toHaveText('Offline');
  await bea.chat.say('Gladly');
  await ana.chat.row(QUESTION).openMore();
  await ana.chat.row(QUESTION).item('Remove message').click();
  await bea.goOffline(false);
  await expect(bea.chat.message('Gladly')).toContainText('The message you answer is not there any more.');
  await bea.chat.message('Gladly').getByRole('button', { name: 'Retry' }).click();
  await expect(ana.chat.message('Gladly')).toBeVisible();
  await expect(bea.chat.message('Gladly')).not.toContainText('Not sent');
});

test('an answer that was begun is there after a reload', async ({ person }) => {
  const { ana, bea } = await two(person);
  await bea.chat.row(QUESTION).beginReply();
  await bea.chat.composer.fill('Gladly');
  await bea.page.reload();
  await bea.chat.isOpen();
  await expect(bea.chat.answering).toContainText(QUESTION);
  await expect(bea.chat.composer).toHaveValue('Gladly');
  await bea.chat.composer.press('Enter');
  await expect(ana.chat.row('Gladly').inReplyTo('Ana')).toBeVisible();
  await bea.page.reload();
  await bea.chat.isOpen();
  await expect(bea.chat.answering).toHaveCount(0);
});

test('an answer to somebody whom the reader has hidden shows nothing of them', async ({ person }) => {
  const { ana, bea } = await two(person);
  await bea.chat.reply(QUESTION, 'Gladly');
  const eve = await person();
  await eve.open(bea.page.url());
  await expect(eve.chat.row('Gladly').inReplyTo('Ana')).toBeVisible();
  await eve.chat.aboutMessage(QUESTION);
  await eve.chat.act('Hide').click();
  await expect(eve.chat.row('Gladly').row).toContainText('In reply to someone you have hidden');
  await expect(eve.chat.row('Gladly').row).not.toContainText(QUESTION);
  await expect(ana.chat.row('Gladly').inReplyTo('Ana')).toBeVisible();
});

test('the address of a message shows it in a second browser, wherever in the history it is', async ({ person }) => {
  const { ana, bea, link } = await two(person);
  const seq = await placeOf(ana, QUESTION);
  await ana.chat.sayAll(lines(300));
  const address = `${link}?at=${seq}`;
  const eve = await person();
  await eve.open(address);
  await expect(eve.chat.message(QUESTION)).toBeInViewport();
  await expect(eve.chat.message(QUESTION)).toHaveAttribute('aria-current', 'true');
  await expect(eve.chat.message('line 300')).toHaveCount(0);
  await ana.chat.say('and one more');
  await eve.page.getByRole('button', { name: 'New messages' }).click();
  await expect(eve.chat.message('and one more')).toBeInViewport();

  await bea.page.goto(address);
  await expect(bea.chat.message(QUESTION)).toBeInViewport();
});

test('the line of an answer leads far up in the history, and the button back', async ({ person }) => {
  const { ana, bea, link } = await two(person);
  const seq = await placeOf(ana, QUESTION);
  await ana.chat.sayAll(lines(200));
  const eve = await person();
  await eve.open(`${link}?reply=${seq}`);
  await expect(eve.chat.answering).toContainText(QUESTION);
  await eve.chat.say('Gladly');
  await expect(bea.chat.message(QUESTION)).toHaveCount(0);
  await bea.chat.row('Gladly').inReplyTo('Ana').click();
  await expect(bea.chat.message(QUESTION)).toBeInViewport();
  await expect(bea.page).toHaveURL(link);
  await expect(bea.chat.row(QUESTION).reply).toBeFocused();
  await bea.page.getByRole('button', { name: 'Newest messages' }).click();
  await expect(bea.chat.message('Gladly')).toBeInViewport();
});

test('the address of a message that is gone says so, and shows what is nearest', async ({ person }) => {
  const { ana, bea, link } = await two(person);
  await ana.chat.say('to be removed');
  await expect(ana.chat.message('to be removed')).not.toContainText('Sending');
  const seq = await placeOf(ana, 'to be removed');
  await ana.chat.row('to be removed').openMore();
  await ana.chat.row('to be removed').item('Remove message').click();
  for (const address of [`${link}?at=${seq}`, `${link}?at=${seq + 1_000}`]) {
    await bea.page.goto(address);
    await expect(bea.chat.alert).toHaveText('This message is not there any more.');
    await expect(bea.chat.message(QUESTION)).toBeInViewport();
  }
});
