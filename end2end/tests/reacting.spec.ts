// Reacting to messages: by the picker, by keys, on a phone, by a form; and what comes of it when something is in the way.

import { AxeBuilder } from '@axe-core/playwright';
import { EmojiPicker } from '../pages/message.ts';
import { type Newcomer, type Person, expect, test } from '../support/story.ts';

/** Two people in a chat in which the first has said something. */
async function two(person: Newcomer, text = 'Tea at five?'): Promise<{ ana: Person; bea: Person; link: string }> {
  const [ana, bea] = [await person(), await person()];
  const link = await ana.startChat({ nickname: 'Ana' });
  await ana.chat.say(text);
  await bea.open(link);
  await expect(bea.chat.message(text)).toBeVisible();
  return { ana, bea, link };
}

/** Reacts to a message with an emoji from the picker. */
async function pick(who: Person, text: string, search: string, name: string): Promise<void> {
  const picker = new EmojiPicker(who.page);
  await who.chat.row(text).openPicker();
  await picker.search.fill(search);
  await picker.emoji(name).click();
  await expect(picker.dialog).toBeHidden();
}

test('an emoji from the picker is there for everybody, and others join and leave by a click', async ({ person }) => {
  const { ana, bea } = await two(person);
  const [mine, hers] = [ana.chat.row('Tea at five?'), bea.chat.row('Tea at five?')];
  const picker = new EmojiPicker(bea.page);
  await hers.openPicker();
  await expect(picker.search).toBeFocused();
  await picker.search.fill('tada');
  await picker.emoji('party popper').click();
  await expect(picker.dialog).toBeHidden();
  await expect(hers.reaction('🎉', 1)).toHaveAttribute('aria-pressed', 'true');
  await expect(mine.reaction('🎉', 1)).toHaveAttribute('aria-pressed', 'false');

  await mine.reaction('🎉', 1).click();
  await expect(mine.reaction('🎉', 2)).toHaveAttribute('aria-pressed', 'true');
  await expect(hers.reaction('🎉', 2)).toHaveAttribute('aria-pressed', 'true');
  await hers.reaction('🎉', 2).click();
  await expect(mine.reaction('🎉', 1)).toBeVisible();
  await expect(hers.reaction('🎉', 1)).toHaveAttribute('aria-pressed', 'false');

  await ana.page.reload();
  await ana.chat.isOpen();
  await expect(mine.reaction('🎉', 1)).toHaveAttribute('aria-pressed', 'true');
});

test('counts grow in place, and nothing under the pointer moves', async ({ person }) => {
  const { ana, bea } = await two(person);
  const [mine, hers] = [ana.chat.row('Tea at five?'), bea.chat.row('Tea at five?')];
  const picker = new EmojiPicker(ana.page);
  for (const [search, name] of [['+1', 'thumbs up'], ['tada', 'party popper']] as const) {
    await mine.openPicker();
    await picker.search.fill(search);
    await picker.emoji(name).click();
  }
  await expect(hers.reactions).toHaveCount(2);
  await bea.chat.say('and cake');
  await expect(ana.chat.message('and cake')).toBeVisible();
  const places = async () => ({
    buttons: await Promise.all((await mine.reactions.all()).map((each) => each.boundingBox())),
    below: await ana.chat.message('and cake').boundingBox(),
  });
  const before = await places();
  await hers.reaction('👍', 1).click();
  await expect(mine.reaction('👍', 2)).toBeVisible();
  expect(await places()).toEqual(before);
});

test('a button keeps the focus while others join, and the others keep their places when one goes', async ({ person }) => {
  const { ana, bea } = await two(person);
  const [mine, hers] = [ana.chat.row('Tea at five?'), bea.chat.row('Tea at five?')];
  for (const [search, name] of [['+1', 'thumbs up'], ['tada', 'party popper'], ['heart', 'red heart']] as const) await pick(ana, 'Tea at five?', search, name);
  await hers.reaction('🎉', 1).focus();
  await bea.page.keyboard.press('Space');
  await expect(hers.reaction('🎉', 2)).toBeFocused();
  await mine.reaction('🎉', 2).click();
  await expect(hers.reaction('🎉', 1)).toBeFocused();
  await expect(hers.reaction('🎉', 1)).toHaveAttribute('aria-pressed', 'true');
  await mine.reaction('👍', 1).click();
  await expect(hers.reactions).toHaveCount(2);
  await expect(hers.reaction('🎉', 1)).toBeFocused();
  // whoever comes back is the last one
  await pick(ana, 'Tea at five?', '+1', 'thumbs up');
  await expect.poll(() => hers.reactions.evaluateAll((all) => all.map((each) => each.getAttribute('aria-label')))).toEqual(['🎉 1', '❤️ 1', '👍 1']);
  await bea.page.keyboard.press('Space');
  await expect(hers.reactions).toHaveCount(2);
});

test('what is read stays in its place when a message above it gets its first reaction', async ({ person }) => {
  const { ana, bea } = await two(person);
  await ana.chat.sayAll(Array.from({ length: 60 }, (_, number) => `line ${number}`));
  await expect(bea.chat.message('line 59')).toBeVisible();
  await bea.chat.message('line 30').evaluate((line) => line.scrollIntoView({ block: 'start', behavior: 'instant' }));
  await bea.chat.log.evaluate((log) => log.scrollBy({ top: -10, behavior: 'instant' }));
  await expect(bea.chat.message('line 30')).toBeInViewport();
  const place = async () => (await bea.chat.message('line 31').boundingBox())?.y;
  const before = await place();
  await pick(ana, 'line 29', 'tada', 'party popper');
  await expect(bea.chat.row('line 29').reaction('🎉', 1)).toBeVisible();
  await expect.poll(place).toBe(before);
  // at the end of the log they are seen without scrolling
  await ana.chat.composer.focus();
  await pick(ana, 'line 59', 'tada', 'party popper');
  await expect(ana.chat.row('line 59').reaction('🎉', 1)).toBeInViewport({ ratio: 1 });
});

test('it says who has reacted: hidden users are counted and not named', async ({ person }) => {
  const { ana, bea, link } = await two(person);
  await bea.chat.editNickname.click();
  await bea.chat.nickname.fill('Bea');
  await bea.chat.save.click();
  await expect(ana.chat.member('Bea')).toBeVisible();
  await pick(bea, 'Tea at five?', 'tada', 'party popper');
  const [mine, hers] = [ana.chat.row('Tea at five?'), bea.chat.row('Tea at five?')];
  await expect(hers.reaction('🎉', 1)).toHaveAttribute('title', 'You');
  await expect(mine.reaction('🎉', 1)).toHaveAttribute('title', 'Bea');
  await mine.reaction('🎉', 1).click();
  await expect(mine.reaction('🎉', 2)).toHaveAttribute('title', 'You and Bea');
  await expect(hers.reaction('🎉', 2)).toHaveAttribute('title', 'You and Ana');
  const cy = await person();
  await cy.open(link);
  const theirs = cy.chat.row('Tea at five?').reaction('🎉', 2);
  await expect(theirs).toHaveAttribute('title', 'Ana and Bea');
  await cy.chat.aboutMember('Bea');
  await cy.chat.act('Hide Bea').click();
  await expect(theirs).toHaveAttribute('title', 'Ana and one other');
});

test('two tabs show the same, and a message that goes takes its reactions along', async ({ person }) => {
  const { ana, bea, link } = await two(person);
  const tab = await bea.newTab(link);
  const [one, other] = [bea.chat.row('Tea at five?'), tab.chat.row('Tea at five?')];
  await pick(tab, 'Tea at five?', 'tada', 'party popper');
  await expect(one.reaction('🎉', 1)).toHaveAttribute('aria-pressed', 'true');
  await one.reaction('🎉', 1).click();
  await expect(other.reactions).toHaveCount(0);
  await pick(tab, 'Tea at five?', 'tada', 'party popper');
  await expect(one.reaction('🎉', 1)).toBeVisible();
  await ana.chat.row('Tea at five?').openMore();
  await ana.chat.row('Tea at five?').item('Remove message').click();
  for (const page of [bea, tab]) {
    await expect(page.chat.log.getByText('Message removed', { exact: true })).toBeVisible();
    await expect(page.chat.log.getByRole('button', { name: /^🎉 / })).toHaveCount(0);
  }
});

test.describe('after an interruption', () => {
  test.use({ expected: { words: [/ERR_INTERNET_DISCONNECTED/, /WebSocket/] } });

  test('reactions are as they are by then', async ({ person }) => {
    const { ana, bea } = await two(person);
    await pick(ana, 'Tea at five?', 'tada', 'party popper');
    const hers = bea.chat.row('Tea at five?');
    await expect(hers.reaction('🎉', 1)).toBeVisible();
    await bea.goOffline(true);
    await ana.chat.row('Tea at five?').reaction('🎉', 1).click();
    await pick(ana, 'Tea at five?', 'heart', 'red heart');
    await ana.chat.say('Or at six?');
    await pick(ana, 'Or at six?', '+1', 'thumbs up');
    await bea.goOffline(false);
    await expect(bea.chat.row('Or at six?').reaction('👍', 1)).toBeVisible();
    await expect(hers.reaction('❤️', 1)).toBeVisible();
    await expect(hers.reactions).toHaveCount(1);
  });
});

test.describe('without WebSockets', () => {
  test.use({ expected: { words: [/WebSocket connection to .* failed/, /Failed to load resource/] } });

  test('a page that polls shows reactions, and reacts', async ({ person }) => {
    const { ana, link } = await two(person);
    const cy = await person();
    await cy.page.addInitScript(() => {
      const { WebSocket } = window;
      window.WebSocket = class extends WebSocket {
        constructor() {
          super(`ws://${location.host}/no-such-address`);
        }
      } as typeof WebSocket;
    });
    await cy.page.goto(link);
    await expect(cy.chat.connection).toHaveText('Connected, but not live');
    await pick(ana, 'Tea at five?', 'tada', 'party popper');
    const theirs = cy.chat.row('Tea at five?');
    await expect(theirs.reaction('🎉', 1)).toHaveAttribute('aria-pressed', 'false', { timeout: 10_000 });
    await theirs.reaction('🎉', 1).click();
    await expect(theirs.reaction('🎉', 2)).toHaveAttribute('aria-pressed', 'true');
    await expect(ana.chat.row('Tea at five?').reaction('🎉', 2)).toBeVisible();
    await ana.chat.row('Tea at five?').reaction('🎉', 2).click();
    await expect(theirs.reaction('🎉', 1)).toHaveAttribute('aria-pressed', 'true', { timeout: 10_000 });
  });
});

test('the picker finds by words, remembers what was used and the skin tone, and closes by Escape', async ({ person }) => {
  const { ana } = await two(person);
  const row = ana.chat.row('Tea at five?');
  const picker = new EmojiPicker(ana.page);
  await row.openPicker();
  await picker.search.fill('no emoji is called this');
  await expect(picker.dialog.getByRole('status')).toHaveText('No emoji has this name.');
  await picker.search.fill('waving hand');
  await picker.tone('Medium').click();
  await expect(picker.emoji('waving hand')).toHaveText('👋🏽');
  await picker.emoji('waving hand').click();
  await expect(row.reaction('👋🏽', 1)).toBeVisible();

  await ana.page.reload();
  await ana.chat.isOpen();
  await row.openPicker();
  await expect(picker.emoji('waving hand', 'Used lately')).toHaveText('👋🏽');
  await expect(picker.tone('Medium')).toBeChecked();
  await ana.page.keyboard.press('Escape');
  await expect(picker.dialog).toBeHidden();
  await expect(row.react).toBeFocused();
});

test('all of it can be done by keys alone', async ({ person }) => {
  const { ana, bea } = await two(person);
  await bea.chat.say('Or at six?');
  const picker = new EmojiPicker(bea.page);
  const row = bea.chat.row('Tea at five?');
  await expect(bea.chat.composer).toBeFocused();
  // back from the composer to the newest message
  await bea.chat.row('Or at six?').reply.focus();
  await bea.page.keyboard.press('ArrowUp');
  await expect(row.reply).toBeFocused();
  await bea.page.keyboard.press('ArrowRight');
  await expect(row.react).toBeFocused();
  await bea.page.keyboard.press('+');
  await expect(picker.search).toBeFocused();
  await bea.page.keyboard.type('heart');
  await bea.page.keyboard.press('ArrowDown');
  await expect(picker.emoji('red heart')).toBeFocused();
  await bea.page.keyboard.press('ArrowRight');
  await bea.page.keyboard.press('ArrowLeft');
  await bea.page.keyboard.press('Enter');
  await expect(ana.chat.row('Tea at five?').reaction('❤️', 1)).toBeVisible();
  await expect(row.react).toBeFocused();

  await bea.page.keyboard.press('Space');
  await expect(picker.search).toBeFocused();
  await bea.page.keyboard.press('Escape');
  await bea.page.keyboard.press('ArrowRight');
  await bea.page.keyboard.press('Enter');
  await expect(row.menu.getByRole('menuitem').first()).toBeFocused();
  await bea.page.keyboard.press('End');
  await expect(row.menu.getByRole('menuitem').last()).toBeFocused();
  await bea.page.keyboard.press('Escape');
  await expect(row.menu).toBeHidden();
  await expect(row.more).toBeFocused();
});

test('More has what one may do: with an own message more than with one of others', async ({ person }) => {
  const { ana, bea } = await two(person);
  await bea.page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  const hers = bea.chat.row('Tea at five?');
  await hers.openMore();
  await expect(hers.menu.getByRole('menuitem')).toHaveText(['Copy text', 'Copy link to message', 'About Ana']);
  const clipboard = () => bea.page.evaluate(() => navigator.clipboard.readText());
  await hers.item('Copy text').click();
  await expect(bea.page.getByText('Text copied')).toBeVisible();
  expect(await clipboard()).toBe('Tea at five?');
  await hers.openMore();
  await hers.item('Copy link to message').click();
  await expect(bea.page.getByText('Link copied')).toBeVisible();
  expect(await clipboard()).toMatch(/\/chat\/\w+\?at=\d+$/);

  const mine = ana.chat.row('Tea at five?');
  await mine.openMore();
  await expect(mine.item('Edit message')).toBeVisible();
  await mine.item('Remove message').click();
  await expect(bea.chat.log.getByText('Message removed', { exact: true })).toBeVisible();
  await expect(ana.chat.composer).toBeFocused();
});

test.describe('in the way', () => {
  test.use({ expected: { words: [/ERR_FAILED/, /404/, /ERR_INTERNET_DISCONNECTED/, /WebSocket/] } });

  test('a message that goes while the picker is open: a sentence says so', async ({ person }) => {
    const { ana, bea } = await two(person);
    const hers = bea.chat.row('Tea at five?');
    const picker = new EmojiPicker(bea.page);
    await hers.openPicker();
    await picker.search.fill('tada');
    await ana.chat.row('Tea at five?').openMore();
    await ana.chat.row('Tea at five?').item('Remove message').click();
    await expect(bea.chat.log.getByText('Message removed', { exact: true })).toBeVisible();
    await picker.emoji('party popper').click();
    await expect(bea.page.getByRole('status').filter({ hasText: 'not there any more' })).toBeVisible();
  });

  test('a piece that cannot be loaded: the link leads to a page that does the same', async ({ person }) => {
    const { ana } = await two(person);
    await ana.page.route(/\/later\/emoji\.js/, (route) => route.abort());
    const row = ana.chat.row('Tea at five?');
    await row.openPicker();
    await expect(ana.page).toHaveURL(/\?react=\d+$/);
  });

  test('without a connection the page stays, and says that it was not done', async ({ person }) => {
    const { ana } = await two(person);
    await ana.chat.composer.fill('half a thought');
    await ana.goOffline(true);
    await ana.chat.row('Tea at five?').openPicker();
    await expect(ana.chat.alert).toContainText('There is no connection just now');
    await expect(ana.chat.composer).toHaveValue('half a thought');
  });

  test('emoji that cannot be loaded: the picker says so, and has them the next time', async ({ person }) => {
    const { ana } = await two(person);
    let isDown = true;
    await ana.page.route(/\/emoji\.txt/, (route) => (isDown ? route.abort() : route.continue()));
    const row = ana.chat.row('Tea at five?');
    const picker = new EmojiPicker(ana.page);
    await row.openPicker();
    await expect(picker.dialog.getByRole('status')).toContainText('could not be loaded');
    isDown = false;
    await ana.page.keyboard.press('Escape');
    await row.openPicker();
    await picker.search.fill('tada');
    await expect(picker.emoji('party popper')).toBeVisible();
  });
});

test('nothing of it is loaded before it is needed, and each piece once', async ({ person }) => {
  const ana = await person();
  const loaded: string[] = [];
  ana.page.on('request', (request) => {
    const { pathname, search } = new URL(request.url());
    if (/later|emoji/.test(pathname)) loaded.push(pathname);
    if (/later|emoji/.test(pathname)) expect(search).toMatch(/^\?v=[0-9a-f]{16}$/);
  });
  await ana.startChat({ nickname: 'Ana' });
  await ana.chat.say('Tea at five?');
  await expect(ana.chat.message('Tea at five?')).not.toContainText('Sending');
  expect([...new Set(loaded)]).toEqual(['/later.js']);
  loaded.length = 0;
  const row = ana.chat.row('Tea at five?');
  const picker = new EmojiPicker(ana.page);
  for (let time = 0; time < 2; time += 1) {
    await row.openPicker();
    await picker.search.fill('tada');
    await expect(picker.emoji('party popper')).toBeVisible();
    await ana.page.keyboard.press('Escape');
  }
  const emoji = loaded.filter((path) => !path.endsWith('actions.js'));
  expect(emoji.sort()).toEqual(['/emoji.txt', '/later/emoji.js', '/later/later.css']);
});

test.describe('on a phone', () => {
  test.use({ contextOptions: { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true } });

  test('a held touch shows all actions, and a tap does nothing', async ({ person }) => {
    const { ana, bea } = await two(person);
    const row = bea.chat.row('Tea at five?');
    const picker = new EmojiPicker(bea.page);
    await row.row.locator('.body').tap();
    await expect(row.menu).toBeHidden();
    await row.hold(() => expect(row.menu).toBeVisible());
    await expect(row.menu).toBeVisible();
    await expect(row.menu.getByRole('menuitem')).toHaveText(['Reply', 'React', 'Copy text', 'Copy link to message', 'About Ana']);
    await row.item('React').tap();
    await picker.search.fill('tada');
    await picker.emoji('party popper').tap();
    await expect(ana.chat.row('Tea at five?').reaction('🎉', 1)).toBeVisible();
    // beside the sheet
    await row.more.tap();
    await expect(row.menu).toBeVisible();
    await bea.page.touchscreen.tap(195, 40);
    await expect(row.menu).toBeHidden();
  });
});

test.describe('without JavaScript', () => {
  test.use({ contextOptions: { javaScriptEnabled: false } });

  test('a reaction is given and taken back by forms', async ({ person }) => {
    const ana = await person();
    await ana.visit('/');
    await ana.home.startChat({ nickname: 'Ana' });
    await ana.chat.composer.fill('Tea at five?');
    await ana.chat.send.click();
    const row = ana.chat.row('Tea at five?');
    await row.openPicker();
    await ana.page.getByRole('textbox', { name: 'Emoji' }).fill('🎉');
    await ana.page.getByRole('button', { name: 'React', exact: true }).click();
    await expect(row.reaction('🎉', 1)).toHaveAttribute('aria-pressed', 'true');
    await row.reaction('🎉', 1).click();
    await expect(row.reactions).toHaveCount(0);
  });
});

for (const colorScheme of ['light', 'dark'] as const) {
  for (const width of [360, 768, 1440]) {
    test(`the menu, the picker and reactions are accessible when it is ${colorScheme}, at ${width} pixels`, async ({ person }, info) => {
      const ana = await person({ colorScheme, viewport: { width, height: 720 } });
      await ana.startChat({ nickname: 'Ana' });
      await ana.chat.say('Tea at five?');
      const row = ana.chat.row('Tea at five?');
      const picker = new EmojiPicker(ana.page);
      const look = async (name: string) => {
        await ana.page.screenshot({ path: info.outputPath(`${name}-${colorScheme}-${width}.png`) });
        const { violations } = await new AxeBuilder({ page: ana.page }).analyze();
        expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`)).toEqual([]);
        expect(await ana.page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
      };
      await row.row.hover();
      await look('actions');
      await row.openMore();
      await expect(row.menu).toBeInViewport({ ratio: 1 });
      await look('more');
      await ana.page.keyboard.press('Escape');
      await row.openPicker();
      await expect(picker.dialog).toBeInViewport({ ratio: 1 });
      await expect(picker.emoji('grinning face', 'Smileys and emotion')).toBeVisible();
      await look('picker');
      await picker.search.fill('heart');
      await look('picker-found');
      await picker.emoji('red heart').click();
      await expect(row.reaction('❤️', 1)).toBeVisible();
      await look('reacted');
    });
  }
}
