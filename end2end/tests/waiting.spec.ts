// A pending message belongs to its author: it is sent once, under their name, or the user is asked what to do with it.

import { expect, test } from '../support/story.ts';

test.use({ expected: { words: [/WebSocket connection to .* failed/, /ERR_CONNECTION_REFUSED/, /ERR_INTERNET_DISCONNECTED/, /403|status of 4/] } });

test('what was written under one name is not sent under another without a notice', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  await bea.goOffline(true);
  await expect(bea.chat.connection).toHaveText('Offline');
  await bea.chat.say('written as who I was');
  await expect(bea.chat.message('written as who I was')).toContainText('Not sent');
  await bea.page.context().clearCookies();
  await bea.goOffline(false);
  // The next page of this browser creates a new user.
  const tab = await bea.page.context().newPage();
  await tab.goto(link);
  await tab.close();
  await bea.page.evaluate(() => dispatchEvent(new Event('online')));

  const waits = bea.chat.message('written as who I was');
  await bea.page.reload();
  await bea.chat.isConnected();
  await expect(waits).toContainText('written under another name');
  await ana.chat.say('nothing came');
  await expect(bea.chat.message('nothing came')).toBeVisible();
  expect(await ana.chat.texts()).toEqual(['nothing came']);

  await waits.getByRole('button', { name: /^Send as / }).click();
  await expect(ana.chat.message('written as who I was')).toBeVisible();
  await expect(waits).not.toContainText('Not sent');
});

test('what was refused for good can be edited or discarded, and says what is so now', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  await bea.goOffline(true);
  await expect(bea.chat.connection).toHaveText('Offline');
  for (const text of ['one', 'two', 'three', '//nick No']) await bea.chat.say(text);
  await ana.chat.locked.click();
  await bea.goOffline(false);
  await bea.chat.isConnected();
  for (const text of ['one', 'two', 'three']) await expect(bea.chat.message(text)).toContainText(/Not sent\. .*locked/i);
  await bea.chat.message('one').getByRole('button', { name: 'Discard' }).click();
  await expect(bea.chat.message('one')).toHaveCount(0);
  await bea.page.reload();
  await bea.chat.isConnected();
  await expect(bea.chat.message('two')).toContainText('Not sent');
  await expect(bea.chat.message('one')).toHaveCount(0);

  await ana.chat.locked.click();
  await expect(bea.chat.message('two')).toContainText('You can send it now');
  await bea.chat.message('two').getByRole('button', { name: 'Edit' }).click();
  await expect(bea.chat.composer).toHaveValue('two');
  await expect(bea.chat.composer).toBeFocused();
  await bea.chat.composer.press('End');
  await bea.chat.composer.pressSequentially(' and a half');
  await bea.chat.composer.press('Enter');
  await bea.chat.message('three').getByRole('button', { name: 'Retry' }).click();
  // Text that was not a command does not become one when it is edited.
  await bea.chat.message('/nick No').getByRole('button', { name: 'Edit' }).click();
  await expect(bea.chat.composer).toHaveValue('//nick No');
  await bea.chat.composer.press('Enter');
  for (const one of [ana, bea]) await expect.poll(() => one.chat.texts()).toEqual(['two and a half', 'three', '/nick No']);
});

test.describe('where messages are kept for seconds', () => {
  test.use({ settings: { QCHAT_MESSAGE_LIFETIME: '3s' } });

  test('what waited for longer than that is not sent again by itself', async ({ person }) => {
    const ana = await person();
    const link = await ana.startChat({ nickname: 'Ana' });
    const bea = await person();
    await bea.open(link);
    await bea.goOffline(true);
    await expect(bea.chat.connection).toHaveText('Offline');
    await bea.chat.say('long ago');
    await bea.page.waitForTimeout(3_500);
    await bea.goOffline(false);
    await bea.chat.isConnected();
    await expect(bea.chat.message('long ago')).toContainText('Not sent. This waited so long');
    expect(await ana.chat.texts()).toEqual([]);
    await bea.chat.message('long ago').getByRole('button', { name: 'Retry' }).click();
    await expect(ana.chat.message('long ago')).toBeVisible();
  });
});

test('a page is only left with a question while something waits on it', async ({ person }) => {
  const ana = await person();
  await ana.startChat({ nickname: 'Ana' });
  const leave = () => ana.page.evaluate(() => !dispatchEvent(new Event('beforeunload', { cancelable: true })));
  expect(await leave()).toBe(false);
  await ana.goOffline(true);
  await expect(ana.chat.connection).toHaveText('Offline');
  await ana.chat.say('not out yet');
  await expect(ana.chat.message('not out yet')).toContainText('Not sent');
  expect(await leave()).toBe(true);
  await ana.goOffline(false);
  await expect(ana.chat.message('not out yet')).not.toContainText(/Not sent|Sending/);
  await expect.poll(leave).toBe(false);
});

test('a message written offline while reading further up is in view when it has gone out', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  await ana.chat.sayAll(Array.from({ length: 200 }, (_, index) => `line ${index + 1}`));
  const bea = await person();
  await bea.open(link);
  await expect(bea.chat.message('line 200')).toBeInViewport();
  // Scrolls up until the newest messages are unloaded.
  await expect(async () => {
    await bea.chat.log.evaluate((log) => log.scrollBy(0, -2_000));
    await expect(bea.chat.message('line 200')).toHaveCount(0, { timeout: 50 });
  }).toPass();
  await bea.goOffline(true);
  await expect(bea.chat.connection).toHaveText('Offline');
  await bea.chat.say('written offline');
  await expect(bea.chat.message('written offline')).toBeInViewport();
  await expect(bea.chat.log.getByText('Messages in between are not shown')).toBeInViewport();
  await ana.chat.say('meanwhile');
  await bea.goOffline(false);
  await expect(ana.chat.message('written offline')).toBeVisible();
  await expect(bea.chat.message('written offline')).toBeInViewport();
  await expect(bea.chat.message('written offline')).not.toContainText('Not sent');
  await expect(bea.chat.message('meanwhile')).toBeInViewport();
  await expect(bea.chat.log.getByText('Messages in between are not shown')).toHaveCount(0);
});
