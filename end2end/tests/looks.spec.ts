import { AxeBuilder } from '@axe-core/playwright';
import { type Person, expect, test } from '../support/story.ts';

test.use({ expected: { words: [/404/, /WebSocket connection to .* failed/, /ERR_CONNECTION_REFUSED/, /ERR_INTERNET_DISCONNECTED/] } });

/** Starts a chat whose title and messages are hard to lay out. Returns its address. */
async function fillChat(ana: Person): Promise<string> {
  const link = await ana.startChat({ nickname: 'W'.repeat(20), title: `${'Long title '.repeat(8)}👩‍🚀` });
  const texts = ['Hello', 'w'.repeat(200), 'مرحبا بكم في الدردشة', '👨‍👩‍👧‍👦 🎉', 'a\nb\nc', 'https://example.org/'.repeat(12)];
  for (const text of texts) await ana.chat.say(text);
  await expect(ana.chat.log.getByText('Sending')).toHaveCount(0);
  return link;
}

async function expectAccessible(one: Person): Promise<void> {
  // Waits for animations to finish, since text that fades in has too little contrast at first.
  await one.page.evaluate(() => {
    const ending = document.getAnimations().filter((each) => each.effect?.getComputedTiming().endTime !== Infinity);
    return Promise.allSettled(ending.map((each) => each.finished));
  });
  const { violations } = await new AxeBuilder({ page: one.page }).analyze();
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`)).toEqual([]);
}

for (const colorScheme of ['light', 'dark'] as const) {
  test(`every page is accessible when it is ${colorScheme}`, async ({ person }) => {
    const ana = await person({ colorScheme });
    await ana.visit('/');
    await ana.home.isConnected();
    await expectAccessible(ana);
    const link = await fillChat(ana);
    await expectAccessible(ana);
    await ana.chat.editTitle.click();
    await ana.chat.editNickname.click();
    await expectAccessible(ana);
    await ana.chat.locked.click();
    await expect(ana.chat.locked).toBeChecked();
    const bea = await person({ colorScheme, viewport: { width: 360, height: 640 } });
    await bea.open(link);
    await expectAccessible(bea);
    await ana.chat.locked.click();
    await bea.chat.say('from a phone');
    await ana.chat.aboutMessage('from a phone');
    await expectAccessible(ana);
    await ana.page.keyboard.press('Escape');
    await bea.chat.aboutMessage('Hello');
    await expectAccessible(bea);
    await bea.chat.act('Hide').click();
    await expect(bea.chat.log.getByText('whom you have hidden')).toBeVisible();
    await expectAccessible(bea);
    await bea.chat.log.getByRole('button', { name: 'Show' }).click();
    await bea.chat.aboutMessage('from a phone');
    await bea.chat.act('Remove message').click();
    await expect(bea.chat.log.getByText('Message removed')).toBeVisible();
    await expectAccessible(bea);
    await bea.chat.openMembers.click();
    await expectAccessible(bea);
    await bea.newWindow(() => bea.chat.members.getByRole('button', { name: /^Chat privately with/ }).click());
    await expect(ana.chat.invites.region).toBeVisible();
    await expectAccessible(ana);
    await ana.visit('/');
    await expect(ana.home.invites.region).toBeVisible();
    await expect(ana.home.listings).toHaveCount(1);
    await expectAccessible(ana);
    await bea.page.keyboard.press('Escape');
    await bea.goOffline(true);
    await bea.chat.say('not sent');
    await expect(bea.chat.message('not sent')).toContainText('Not sent');
    await expectAccessible(bea);
    await ana.visit('/chat/0000000000000000');
    await expectAccessible(ana);
  });
}

for (const width of [360, 768, 1440]) {
  test(`nothing is wider than a window of ${width} pixels`, async ({ person }) => {
    const ana = await person({ viewport: { width, height: 720 } });
    const overflow = () => ana.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    await ana.visit('/');
    expect(await overflow()).toBeLessThanOrEqual(0);
    const link = await fillChat(ana);
    expect(await overflow()).toBeLessThanOrEqual(0);
    const bea = await person();
    await bea.startChat({ nickname: 'M'.repeat(20), title: 'x'.repeat(100) });
    await bea.open(link);
    await bea.newWindow(() => bea.chat.members.getByRole('button', { name: /^Chat privately with/ }).click());
    await expect(ana.chat.invites.region).toBeInViewport({ ratio: 1 });
    expect(await overflow()).toBeLessThanOrEqual(0);
    if (width < 900) {
      await ana.chat.openMembers.click();
      await expect(ana.chat.member('M'.repeat(20))).toBeInViewport({ ratio: 1 });
      expect(await ana.chat.members.last().evaluate((row) => row.scrollWidth - row.clientWidth)).toBe(0);
      await ana.page.keyboard.press('Escape');
    }
    expect(await ana.chat.log.evaluate((log) => log.scrollWidth - log.clientWidth)).toBe(0);
    await expect(ana.chat.composer).toBeInViewport({ ratio: 1 });
    await ana.visit('/');
    await expect(ana.home.listings).toHaveCount(2);
    expect(await overflow()).toBeLessThanOrEqual(0);
    await ana.visit('/chat/0000000000000000');
    expect(await overflow()).toBeLessThanOrEqual(0);
  });
}
