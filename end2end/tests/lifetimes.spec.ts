import { expect, test } from '../support/story.ts';

test('the page states the lifetimes that are set', async ({ person }) => {
  const ana = await person();
  await ana.visit('/');
  await expect(ana.page.getByRole('contentinfo')).toContainText(
    'a message after 24 hours, a chat 30 minutes after the last person left, a nickname 5 minutes after',
  );
});

test.describe('with short lifetimes', () => {
  test.use({
    settings: { QCHAT_CHAT_LIFETIME: '4s', QCHAT_USER_LIFETIME: '90s', QCHAT_SWEEP_INTERVAL: '1s' },
    expected: { words: [/404/] },
  });
  test('an empty chat vanishes from the list and from its address, and one with people in it stays', async ({ person }) => {
    const ana = await person();
    const left = await ana.startChat({ nickname: 'Ana', title: 'Left' });
    await ana.startChat({ nickname: 'Ana', title: 'Occupied' });
    await ana.chat.say('I am not going anywhere');
    const bea = await person();
    await bea.visit('/');
    await expect(bea.page.getByRole('contentinfo')).toContainText('a chat 4 seconds after the last person left');
    await expect(bea.page.getByRole('contentinfo')).toContainText('a nickname 90 seconds after');
    await expect(bea.home.listing('Left')).toBeVisible();
    await expect(bea.home.listing('Left')).toHaveCount(0, { timeout: 15_000 });
    await expect(bea.home.listing('Occupied')).toBeVisible();
    await bea.page.goto(left);
    await expect(bea.page.getByRole('alert')).toContainText('It may have ended');
    await bea.page.goto(ana.page.url());
    await bea.chat.isOpen();
    await expect(bea.chat.message('I am not going anywhere')).toBeVisible();
  });
});

test.describe('with messages that expire soon', () => {
  test.use({ settings: { QCHAT_MESSAGE_LIFETIME: '8s' } });
  test('a message expires on an open page, and the chat goes on', async ({ person }) => {
    const ana = await person();
    await ana.startChat({ nickname: 'Ana' });
    await ana.chat.say('gone in a moment');
    await expect(ana.chat.message('gone in a moment')).not.toContainText('Sending');
    // The page checks every few seconds.
    await expect(ana.chat.message('gone in a moment')).toHaveCount(0, { timeout: 25_000 });
    await ana.chat.say('here I am');
    await expect(ana.chat.message('here I am')).not.toContainText('Sending');
    await ana.page.reload();
    await ana.chat.isOpen();
    expect(await ana.chat.texts()).toEqual(['here I am']);
  });
});

test.describe('with nicknames that are forgotten soon', () => {
  test.use({
    settings: { QCHAT_CHAT_LIFETIME: '6s', QCHAT_USER_LIFETIME: '2s', QCHAT_SWEEP_INTERVAL: '1s' },
    expected: { words: [/WebSocket connection to .* failed/, /ERR_CONNECTION_REFUSED/, /ERR_INTERNET_DISCONNECTED/] },
  });
  test('a page that was cut off for longer gives its nickname back', async ({ person }) => {
    const ana = await person();
    const link = await ana.startChat({ nickname: 'Ana' });
    const bea = await person();
    await bea.open(link);
    await ana.goOffline(true);
    await expect(bea.chat.members).toHaveCount(1);
    await ana.chat.say('written on the way');
    // Waits until a chat has started and expired, which takes longer than the lifetime of a nickname.
    const stranger = await person();
    await stranger.startChat({ title: 'An hourglass' });
    await stranger.visit('/');
    await expect(stranger.home.listing('An hourglass')).toBeVisible();
    await expect(stranger.home.listing('An hourglass')).toHaveCount(0, { timeout: 15_000 });
    await ana.goOffline(false);
    await ana.chat.isConnected();
    await expect(bea.chat.member('Ana')).toBeVisible();
    await ana.chat.say('my device slept');
    for (const text of ['written on the way', 'my device slept']) {
      await expect(bea.chat.message(text)).toContainText('Ana');
    }
    await expect(ana.chat.member('Ana')).toContainText('you');
  });
});

test('a page that is left open for a day still works in the morning', async ({ person }) => {
  const ana = await person();
  await ana.page.clock.install();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  await bea.chat.say('good night');
  await expect(ana.chat.message('good night')).toBeVisible();
  await ana.page.clock.fastForward('25:00:00');
  await ana.page.clock.resume();
  await expect(ana.chat.message('good night')).toHaveCount(0);
  await ana.chat.isConnected();
  await bea.chat.say('good morning');
  await expect(ana.chat.message('good morning')).toBeVisible();
  await ana.chat.say('to you as well');
  await expect(bea.chat.message('to you as well')).toBeVisible();
});
