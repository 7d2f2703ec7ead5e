import { AxeBuilder } from '@axe-core/playwright';
import { type Newcomer, type Person, expect, test } from '../support/story.ts';

const TALK = ['who is there?', 'Shall we have tea & <cake>?', 'gladly', 'the weather is fine', 'TEA is ready', 'thank you'];

/** Starts a chat in which two people have talked. Both have JavaScript. */
async function talk(person: Newcomer): Promise<{ ana: Person; bea: Person; link: string }> {
  const ana = await person({ javaScriptEnabled: true });
  const link = await ana.startChat({ nickname: 'Ana', title: 'Kitchen' });
  const bea = await person({ javaScriptEnabled: true });
  await bea.open(link);
  await bea.chat.say('/nick Bea');
  for (const [place, text] of TALK.entries()) {
    const one = place % 2 ? bea : ana;
    await one.chat.say(text);
    await expect(one.chat.message(text)).not.toContainText('Sending');
  }
  return { ana, bea, link };
}

/** Posts lines of which every fifth has a word, from 5 on. */
const lines = (count: number) => Array.from({ length: count }, (_, index) => `line ${index + 1}${index % 5 === 4 ? ' with tea' : ''}`);

async function expectAccessible(one: Person): Promise<void> {
  await expect(one.chat.search.found).not.toHaveAttribute('aria-busy');
  const { violations } = await new AxeBuilder({ page: one.page }).analyze();
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`)).toEqual([]);
}

test('words are found newest first with the lines around, and lead to their messages', async ({ person }) => {
  const { ana } = await talk(person);
  const { search } = ana.chat;
  await search.button.click();
  await expect(search.field).toBeFocused();
  await search.field.pressSequentially('Tea');
  await expect(search.hits).toHaveCount(2);
  await expect(search.count).toHaveText('2 found');
  await expect(search.hits.first()).toContainText('the weather is fine');
  await expect(search.hits.first()).toContainText('TEA is ready');
  await expect(search.hits.first()).toContainText('thank you');
  await expect(search.hit('<cake>').locator('mark')).toHaveText('tea');
  await expectAccessible(ana);

  await search.field.fill('tea cake');
  await expect(search.hits).toHaveCount(1);
  await search.field.fill('coffee');
  await expect(search.count).toHaveText('Nothing found');
  await search.field.fill('');
  await expect(search.hits).toHaveCount(0);
  await expect(search.count).toHaveText('');

  await search.field.fill('weather');
  await search.hit('weather').click();
  await expect(search.dialog).toBeHidden();
  await expect(ana.chat.message('the weather is fine')).toBeInViewport();
});

test('a search is made by keys alone, goes on where the reader was, and changes nothing beside it', async ({ person }) => {
  const { ana } = await talk(person);
  const { search } = ana.chat;
  const { keyboard } = ana.page;
  await ana.chat.composer.fill('half a thought');
  await search.button.focus();
  await keyboard.press('Enter');
  await expect(search.field).toBeFocused();
  await keyboard.type('tea');
  await keyboard.press('Enter');
  await expect(search.hits).toHaveCount(2);
  await keyboard.press('ArrowDown');
  await expect(search.hit('TEA is ready')).toBeFocused();
  await keyboard.press('ArrowDown');
  await expect(search.hit('Shall we have')).toBeFocused();
  await keyboard.press('Home');
  await expect(search.hit('TEA is ready')).toBeFocused();
  await keyboard.press('ArrowUp');
  await expect(search.field).toBeFocused();
  await keyboard.press('ArrowDown');
  await keyboard.press('Enter');
  await expect(search.dialog).toBeHidden();
  await expect(ana.chat.message('TEA is ready')).toBeInViewport();

  // the words are still there, and the arrow leads to the next one
  await search.button.focus();
  await keyboard.press('Space');
  await expect(search.field).toHaveValue('tea');
  await keyboard.press('ArrowDown');
  await expect(search.hit('Shall we have')).toBeFocused();
  await keyboard.press('Escape');
  await expect(search.dialog).toBeHidden();
  await expect(search.button).toBeFocused();
  await expect(ana.chat.composer).toHaveValue('half a thought');

  await keyboard.press('/');
  await expect(search.field).toBeFocused();
  await keyboard.type('gladly');
  await expect(search.hits).toHaveCount(1);
  await keyboard.press('Escape');
  await expect(search.dialog).toBeHidden();
  await ana.chat.composer.press('/');
  await expect(ana.chat.composer).toHaveValue('half a thought/');
});

test('what is far up is found in parts, and shown where it was said', async ({ person }) => {
  const ana = await person();
  await ana.startChat({ nickname: 'Ana' });
  await ana.chat.sayAll(lines(130));
  await ana.page.reload();
  await ana.chat.isOpen();
  await expect(ana.chat.message('line 5 with tea')).toHaveCount(0);
  const { search } = ana.chat;
  await search.button.click();
  await search.field.fill('tea');
  await expect(search.hits).toHaveCount(20);
  await expect(search.count).toHaveText(/^20 found, back to \d\d:\d\d$/);
  await search.further.click();
  await expect(search.hits).toHaveCount(26);
  await expect(search.count).toHaveText('26 found');
  await expect(search.further).toBeHidden();
  await expect(search.hit('line 30 with tea')).toBeFocused();
  await search.hit('line 5 with tea').click();
  await expect(ana.chat.message('line 5 with tea')).toBeInViewport();
});

test('one’s own mentions are found', async ({ person }) => {
  const { ana, bea } = await talk(person);
  await bea.chat.say('@Ana, a cup?');
  await bea.chat.say('or two');
  await expect(bea.chat.message('or two')).not.toContainText('Sending');
  const { search } = ana.chat;
  await search.button.click();
  await search.mentions.click();
  await expect(search.hits).toHaveCount(1);
  await expect(search.hits).toContainText('@Ana, a cup?');
  await expect(search.hits).toContainText('or two');
  await bea.chat.search.button.click();
  await bea.chat.search.mentions.click();
  await expect(bea.chat.search.count).toHaveText('Nothing found');
});

test('what was removed is not found again', async ({ person }) => {
  const { ana, bea } = await talk(person);
  const { search } = ana.chat;
  await search.button.click();
  await search.field.fill('tea');
  await expect(search.hits).toHaveCount(2);
  await search.close.click();
  await bea.chat.aboutMessage('Shall we have tea & <cake>?');
  await bea.chat.act('Remove message').click();
  await expect(ana.chat.log.getByText('Message removed')).toBeVisible();
  await search.button.click();
  await expect(search.hits).toHaveCount(1);
  await expect(search.hit('TEA is ready')).toBeVisible();
});

test.describe('a search that cannot be made', () => {
  test.use({ expected: { words: [/422/, /ERR_INTERNET_DISCONNECTED/] } });

  test('says why and keeps what was found', async ({ person }) => {
    const { ana } = await talk(person);
    const { search } = ana.chat;
    await search.button.click();
    await search.field.fill('tea');
    await expect(search.hits).toHaveCount(2);
    await search.field.fill('x'.repeat(101));
    await expect(search.dialog.getByRole('alert')).toContainText('The search is too long.');
    await expect(search.hits).toHaveCount(2);
    await search.field.fill('weather');
    await expect(search.hits).toHaveCount(1);
    await expect(search.dialog.getByRole('alert')).toBeHidden();
    await ana.goOffline(true);
    await search.field.fill('tea');
    await expect(search.dialog.getByRole('alert')).toContainText('There is no connection just now');
    await ana.goOffline(false);
    await search.field.press('Enter');
    await expect(search.hits).toHaveCount(2);
  });
});

test.describe('without JavaScript', () => {
  test.use({ contextOptions: { javaScriptEnabled: false } });

  test('a chat is searched by links and ordinary forms', async ({ person }) => {
    const { link } = await talk(person);
    const cy = await person();
    await cy.open(link);
    const { search } = cy.chat;
    await search.button.click();
    await expect(search.hits).toHaveCount(0);
    await search.field.fill('tea & ');
    await search.button.click();
    await expect(search.field).toHaveValue('tea & ');
    await expect(search.hits).toHaveCount(1);
    await expect(search.hits).toContainText('who is there?');
    await expect(search.hits).toContainText('gladly');
    await expect(search.count).toHaveText('1 found');
    await search.hit('Shall we have').click();
    await expect(cy.chat.message('Shall we have tea & <cake>?')).toBeInViewport();
    await search.button.click();
    await search.mentions.click();
    await expect(search.count).toHaveText('Nothing found');
    await search.back.click();
    await expect(cy.chat.composer).toBeVisible();
  });

  test('a search goes on by a form', async ({ person }) => {
    const ana = await person({ javaScriptEnabled: true });
    const link = await ana.startChat({ nickname: 'Ana' });
    await ana.chat.sayAll(lines(130));
    const bea = await person();
    await bea.page.goto(`${link}?search=tea`);
    const { search } = bea.chat;
    await expect(search.hits).toHaveCount(20);
    await expect(search.hits.first()).toContainText('line 130 with tea');
    await search.further.click();
    await expect(search.hits).toHaveCount(6);
    await expect(search.hits.last()).toContainText('line 5 with tea');
    await expect(search.further).toHaveCount(0);
    // a page without scripts cannot be examined by one
    await ana.page.goto(bea.page.url());
    await expect(ana.chat.search.hits).toHaveCount(6);
    await expectAccessible(ana);
  });
});

test.describe('on a phone', () => {
  test.use({ contextOptions: { viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true } });

  test('the search covers the chat and gives it back', async ({ person }) => {
    const ana = await person();
    await ana.startChat({ nickname: 'W'.repeat(20), title: `${'Long title '.repeat(8)}👩‍🚀` });
    const long = `${'w'.repeat(300)} tea`;
    for (const text of ['مرحبا بكم', long, 'after']) await ana.chat.say(text);
    await expect(ana.chat.log.getByText('Sending')).toHaveCount(0);
    const { search } = ana.chat;
    await expect(search.button).toBeInViewport({ ratio: 1 });
    await search.button.tap();
    await search.field.fill('tea');
    await expect(search.hits).toHaveCount(1);
    expect(await search.dialog.evaluate((dialog) => [dialog.clientWidth, dialog.scrollWidth])).toEqual([360, 360]);
    await expectAccessible(ana);
    await search.hit('tea').tap();
    await expect(search.dialog).toBeHidden();
    await expect(ana.chat.message(long)).toBeInViewport();
  });
});

for (const colorScheme of ['light', 'dark'] as const) {
  for (const width of [360, 768, 1440]) {
    test(`the search fits a ${colorScheme} window of ${width} pixels`, async ({ person }, info) => {
      const { link } = await talk(person);
      const cy = await person({ colorScheme, viewport: { width, height: 720 } });
      const { search } = cy.chat;
      const look = async (name: string) => {
        await expectAccessible(cy);
        expect(await cy.page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
        await cy.page.screenshot({ path: info.outputPath(`${name}.png`) });
      };
      await cy.open(link);
      await search.button.click();
      await expect(search.field).toBeFocused();
      await look('empty');
      await search.field.fill('tea');
      await expect(search.hits).toHaveCount(2);
      await search.field.press('ArrowDown');
      await look('found');
      await search.field.fill('coffee');
      await expect(search.count).toHaveText('Nothing found');
      await look('nothing');
      await cy.page.goto(`${link}?search=tea`);
      await expect(search.hits).toHaveCount(2);
      await look('page');
    });
  }
}
