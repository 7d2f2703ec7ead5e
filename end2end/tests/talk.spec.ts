import { expect, test } from '../support/story.ts';

test('two people talk, and both see the same in the same order', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana', title: 'Tea at five' });
  await expect(ana.chat.heading).toHaveText('Tea at five');
  await expect(ana.chat.members).toHaveCount(1);

  const bea = await person();
  await bea.open(link);
  await expect(ana.chat.members).toHaveCount(2);
  await expect(bea.chat.members).toHaveCount(2);
  await expect(ana.chat.member('Ana')).toContainText('owner');
  await expect(ana.chat.members.first()).toContainText('you');

  for (let round = 1; round <= 3; round++) {
    await ana.chat.say(`Ana says ${round}`);
    await bea.chat.say(`Bea says ${round}`);
  }
  await expect(ana.chat.message('Bea says 3')).toBeVisible();
  await expect(bea.chat.message('Ana says 3')).toBeVisible();
  await expect(ana.chat.log.getByText('Sending')).toHaveCount(0);
  await expect(bea.chat.log.getByText('Sending')).toHaveCount(0);
  const seen = await ana.chat.texts();
  expect(seen).toHaveLength(6);
  expect(await bea.chat.texts()).toEqual(seen);
});

test('both people see the other leave', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  const cy = await person();
  await cy.open(link);
  await expect(ana.chat.members).toHaveCount(3);
  await bea.leave();
  await expect(ana.chat.members).toHaveCount(2);
  await ana.visit('/');
  await expect(cy.chat.members).toHaveCount(1);
});

test('a reload shows what was said, and no other member sees it happen', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  await bea.chat.say('before the reload');
  await expect(ana.chat.message('before the reload')).toBeVisible();
  await expect(ana.chat.members).toHaveCount(2);

  const counts = await ana.page.evaluateHandle(() => {
    const list = document.querySelector('[aria-label="Members"]')!;
    const counts: number[] = [];
    new MutationObserver(() => counts.push(list.children.length)).observe(list, { childList: true });
    return counts;
  });
  await bea.page.reload();
  await bea.chat.isOpen();
  await expect(bea.chat.message('before the reload')).toBeVisible();
  await bea.chat.say('after the reload');
  await expect(ana.chat.message('after the reload')).toBeVisible();
  expect(await counts.jsonValue()).toEqual([]);
});

test('text is shown as typed, whatever it is', async ({ person }) => {
  const title = `Tom & Jerry <script>alert("1")</script>`;
  const texts = [
    '<b>bold?</b> & &amp; "quotes"',
    'two\nlines   and   spaces',
    '👨‍👩‍👧‍👦 é مرحبا',
    'w'.repeat(300),
    '{"post":1} \\n',
  ];
  const ana = await person();
  const link = await ana.startChat({ nickname: 'A & <i>', title });
  const bea = await person();
  await bea.open(link);
  for (const text of texts) await bea.chat.say(text);
  await expect(ana.chat.messages.filter({ hasText: '{"post":1}' })).toBeVisible();
  for (const one of [ana, bea]) {
    await expect(one.chat.heading).toHaveText(title);
    await expect(one.chat.member('A & <i>')).toBeVisible();
    expect(await one.chat.texts()).toEqual(texts);
    await one.page.reload();
    await one.chat.isOpen();
    expect(await one.chat.texts()).toEqual(texts);
    await expect(one.page).toHaveTitle(`${title} · Qchat`);
  }
});

test('times are those of the reader', async ({ person }) => {
  const ana = await person({ timezoneId: 'Asia/Kolkata' });
  const link = await ana.startChat({ nickname: 'Ana' });
  await ana.chat.say('what time is it');
  const time = ana.chat.message('what time is it').locator('time');
  const at = new Date((await time.getAttribute('datetime'))!);
  const clock = (zone: string) =>
    at.toLocaleTimeString('en-GB', { timeZone: zone, hour: '2-digit', minute: '2-digit' });
  const date = at.toLocaleDateString('en-GB', { timeZone: 'Asia/Kolkata', dateStyle: 'long' });
  await expect(time).toHaveText(`${clock('Asia/Kolkata')}, ${date}`);
  await expect(time).toHaveAttribute('title', new RegExp(`^${date}, ${clock('Asia/Kolkata')}:\\d\\d$`));
  const bea = await person({ timezoneId: 'America/New_York' });
  await bea.open(link);
  await expect(bea.chat.message('what time is it').locator('time')).toContainText(clock('America/New_York'));
});

test('the link is copied', async ({ person }) => {
  const ana = await person({ permissions: ['clipboard-read', 'clipboard-write'] });
  const link = await ana.startChat();
  await ana.chat.copyLink.click();
  await expect(ana.page.getByRole('status', { name: 'Link' })).toHaveText('Copied');
  expect(await ana.page.evaluate(() => navigator.clipboard.readText())).toBe(link);
  await expect(ana.page.getByRole('status', { name: 'Link' })).toBeEmpty();
});

test('an address in a message is a link into a window that learns nothing of this one', async ({ person }) => {
  const ana = await person();
  await ana.startChat();
  await expect(ana.chat.log.getByText('Today', { exact: true })).toBeVisible();
  const text = 'see (https://example.org/a?b=c&d), and javascript:alert(1) <b>';
  await ana.chat.say(text);
  const link = ana.chat.log.getByRole('link', { name: 'https://example.org/a?b=c&d', exact: true });
  await expect(link).toHaveAttribute('href', 'https://example.org/a?b=c&d');
  await expect(link).toHaveAttribute('rel', /noopener noreferrer/);
  await expect(link).toHaveAttribute('target', '_blank');
  expect(await ana.chat.texts()).toEqual([text]);
  await ana.page.reload();
  await ana.chat.isOpen();
  expect(await ana.chat.texts()).toEqual([text]);
  await expect(ana.chat.row(text).row.getByRole('link')).toHaveCount(1);
});

test('a user who is alone in a chat is told how others come', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat();
  await expect(ana.chat.log.getByText('Nobody else is here yet.')).toBeVisible();
  const bea = await person();
  await bea.open(link);
  await expect(ana.chat.log.getByText('Nobody else is here yet.')).toHaveCount(0);
});

test('a private chat says that it is one', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ private: true });
  await expect(ana.chat.public).not.toBeChecked();
  const bea = await person();
  await bea.open(link);
  await expect(bea.page.getByText('Private', { exact: true })).toBeVisible();
});

test('Shift and Enter begin a new line, a blank message is not sent, and a long one says so', async ({ person }) => {
  const ana = await person();
  await ana.startChat();
  await ana.chat.composer.press('Enter');
  await ana.chat.say('   ');
  await ana.chat.composer.fill('');
  await ana.chat.composer.pressSequentially('one');
  await ana.chat.composer.press('Shift+Enter');
  await ana.chat.composer.pressSequentially('two');
  await ana.chat.send.click();
  await expect(ana.chat.composer).toHaveValue('');
  expect(await ana.chat.texts()).toEqual(['one\ntwo']);

  await ana.chat.composer.fill('x'.repeat(3_990));
  await expect(ana.page.getByText('10 left')).toBeVisible();
  // Characters are counted as grapheme clusters.
  await ana.chat.composer.fill('x'.repeat(3_990) + '👨‍👩‍👧‍👦e\u0301');
  await expect(ana.page.getByText('8 left')).toBeVisible();
  await ana.chat.say('x'.repeat(4_001));
  await expect(ana.chat.alert).toContainText('The message is too long.');
  await expect(ana.chat.composer).toHaveValue('x'.repeat(4_001));
});

test('the keyboard is enough', async ({ person }) => {
  const ana = await person();
  await ana.visit('/');
  await expect(ana.home.start).toBeVisible();
  const tabTo = async (name: string) => {
    for (let steps = 0; steps < 15; steps++) {
      await ana.page.keyboard.press('Tab');
      const focused = await ana.page.evaluate(() => {
        const element = document.activeElement;
        const label = element instanceof HTMLInputElement ? element.labels?.[0]?.textContent : undefined;
        return label ?? element?.getAttribute('aria-label') ?? element?.textContent;
      });
      if (focused === name) return;
    }
    throw new Error(`no way to ${name} by Tab`);
  };
  await tabTo('Chat title');
  await ana.page.keyboard.type('By keys');
  await tabTo('Private');
  await ana.page.keyboard.press('Space');
  await tabTo('Start chat');
  await ana.page.keyboard.press('Enter');
  await ana.chat.isOpen();
  await expect(ana.chat.heading).toHaveText('By keys');
  await tabTo('Messages');
  await tabTo('Message');
  await ana.page.keyboard.type('no mouse here');
  await ana.page.keyboard.press('Enter');
  await expect(ana.chat.message('no mouse here')).toBeVisible();
});

test.describe('with a low rate limit for messages', () => {
  test.use({ settings: { QCHAT_MESSAGE_RATE: '10/m' } });
  test('a user who writes faster loses nothing: it goes out in order, a little later', async ({ person }) => {
    const ana = await person();
    const link = await ana.startChat();
    const bea = await person();
    await bea.open(link);
    const texts = Array.from({ length: 12 }, (_, number) => `message ${number}`);
    for (const text of texts) await bea.chat.say(text);
    expect(await bea.chat.texts()).toEqual(texts);
    await expect(bea.chat.log.getByText('Sending in a moment, since that was much at once')).toBeVisible();
    // The rate limit: ten at once, then one every six seconds.
    for (const one of [ana, bea]) await expect.poll(() => one.chat.texts(), { timeout: 20_000 }).toEqual(texts);
    await expect(bea.chat.log.getByText(/Sending|Not sent/)).toHaveCount(0);
  });
});
