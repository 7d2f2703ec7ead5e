// Correcting what one has said: edits in place and by a form, what is kept of them, and removals that are taken back.

import { AxeBuilder } from '@axe-core/playwright';
import { type Newcomer, type Person, expect, test } from '../support/story.ts';

/** Two people in a chat in which the first has said something. */
async function two(person: Newcomer, text = 'Tae at five?'): Promise<{ ana: Person; bea: Person; link: string }> {
  const [ana, bea] = [await person(), await person()];
  const link = await ana.startChat({ nickname: 'Ana', title: 'Tea' });
  await ana.chat.say(text);
  await bea.open(link);
  await expect(bea.chat.message(text)).toBeVisible();
  await expect(ana.chat.row(text).more).toBeAttached();
  return { ana, bea, link };
}

async function expectAccessible(one: Person): Promise<void> {
  const { violations } = await new AxeBuilder({ page: one.page }).analyze();
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`)).toEqual([]);
}

test('a message is edited in its place, and says that it was and when', async ({ person }) => {
  const { ana, bea } = await two(person);
  await bea.chat.say('fine');
  await expect(ana.chat.message('fine')).toBeVisible();
  const mine = ana.chat.row('Tae at five?');
  await mine.edit();
  await expect(mine.field).toBeFocused();
  await expect(mine.field).toHaveValue('Tae at five?');
  // one field to write in at a time
  await expect(ana.chat.composer).toHaveCount(1);
  await mine.field.fill('Tea at **five**?');
  await mine.save.click();
  const now = ana.chat.messages.filter({ hasText: 'Tea at five?' });
  await expect(now).toBeVisible();
  await expect(now.locator('strong').getByText('five')).toBeVisible();
  await expect(ana.chat.composer).toHaveCount(1);
  await expect(now.getByRole('button', { name: 'More' })).toBeFocused();
  const hers = bea.chat.messages.filter({ hasText: 'Tea at five?' });
  await expect(hers.getByText('edited', { exact: true })).toBeVisible();
  await expect(hers.locator('.edited')).toHaveAttribute('title', /\d{4}.*\d\d:\d\d/);
  await expect(bea.chat.log).not.toContainText('Tae');
  await expect(bea.page).not.toHaveTitle(/\(/);
  expect(await bea.chat.texts(), 'it keeps its place').toEqual(['Tea at five?', 'fine']);
  await ana.page.reload();
  await ana.chat.isOpen();
  await expect(ana.chat.messages.filter({ hasText: 'Tea at five?' }).getByText('edited', { exact: true })).toBeVisible();
});

test('arrow up in an empty composer edits the last own message, by keys alone', async ({ person }) => {
  const { ana, bea } = await two(person);
  await bea.chat.say('from another');
  await expect(ana.chat.message('from another')).toBeVisible();
  await ana.chat.composer.fill('x');
  await ana.chat.composer.press('ArrowUp');
  await expect(ana.chat.composer).toBeFocused();
  await expect(ana.chat.composer).toHaveValue('x');
  await ana.chat.composer.fill('');
  await ana.chat.composer.press('ArrowUp');
  const mine = ana.chat.row('Tae at five?');
  await expect(mine.field).toBeFocused();
  await mine.field.press('End');
  await mine.field.press('Shift+Enter');
  await ana.page.keyboard.type('or six');
  await expect(mine.field).toHaveValue('Tae at five?\nor six');
  await expectAccessible(ana);
  await mine.field.press('Escape');
  await expect(mine.field).toBeHidden();
  await expect(ana.chat.composer).toBeFocused();
  await ana.chat.composer.press('ArrowUp');
  await expect(mine.field).toHaveValue('Tae at five?');
  await mine.field.fill('Tea at five?');
  await mine.field.press('Enter');
  await expect(bea.chat.message('Tea at five?')).toBeVisible();
  await expect(ana.chat.composer).toBeFocused();
});

test('e on a message edits it, and an input method has Enter and Escape for itself', async ({ person }) => {
  const { ana } = await two(person);
  const mine = ana.chat.row('Tae at five?');
  await mine.reply.focus();
  await ana.page.keyboard.press('e');
  await expect(mine.field).toBeFocused();
  await expect(mine.field).toHaveValue('Tae at five?');
  const isTaken = (init: { key: string; isComposing?: boolean; keyCode?: number }) =>
    mine.field.evaluate((field, init) => !field.dispatchEvent(new KeyboardEvent('keydown', { bubbles: true, cancelable: true, ...init })), init);
  for (const key of ['Enter', 'Escape']) {
    expect(await isTaken({ key, isComposing: true })).toBe(false);
    expect(await isTaken({ key, keyCode: 229 })).toBe(false);
  }
  await expect(mine.field).toBeVisible();
  await mine.cancel.click();
  await expect(mine.field).toBeHidden();
  await expect(mine.more).toBeFocused();
});

test('what is not saved yet is there again after a reload', async ({ person }) => {
  const { ana } = await two(person);
  const mine = ana.chat.row('Tae at five?');
  await mine.edit();
  await mine.field.fill('Tea at fi');
  await ana.page.reload();
  await expect(mine.field).toHaveValue('Tea at fi');
  await mine.field.fill('Tea at five?');
  await mine.save.click();
  await expect(ana.chat.message('Tea at five?')).toBeVisible();
  await ana.page.reload();
  await ana.chat.isOpen();
  await expect(ana.chat.row('Tea at five?').field).toBeHidden();
});

test('others are mentioned and completed in an edit as in the composer', async ({ person }) => {
  const { ana, bea } = await two(person);
  await bea.chat.say('/nick Bea');
  await expect(ana.chat.member('Bea')).toBeVisible();
  const mine = ana.chat.row('Tae at five?');
  await mine.edit();
  await mine.field.press('End');
  await ana.page.keyboard.type(' @be');
  await expect(ana.page.getByRole('listbox', { name: 'People' })).toBeVisible();
  await ana.page.keyboard.press('Enter');
  await expect(mine.field).toHaveValue('Tae at five? @Bea ');
  await ana.page.keyboard.press('Enter');
  await expect(bea.chat.messages.filter({ hasText: '@Bea' })).toHaveClass(/to-me/);
});

test('others’ messages have no such item, and an edit in another tab shows in this one', async ({ person }) => {
  const { ana, bea, link } = await two(person);
  const hers = bea.chat.row('Tae at five?');
  await hers.openMore();
  await expect(hers.item('Copy text')).toBeVisible();
  await expect(hers.item('Edit message')).toHaveCount(0);
  const tab = await ana.newTab(link);
  const mine = tab.chat.row('Tae at five?');
  await mine.edit();
  await mine.field.fill('Tea at five?');
  await mine.save.click();
  await expect(ana.chat.message('Tea at five?')).toBeVisible();
  await expect(ana.chat.row('Tea at five?').edited).toBeVisible();
});

test.describe('refused', () => {
  test.use({ expected: { words: [/ERR_FAILED/, /ERR_INTERNET_DISCONNECTED/, /WebSocket/, /40[34]/] } });

  test('an edit that is refused stays in its field, with a sentence', async ({ person }) => {
    const { ana, link } = await two(person);
    const tab = await ana.newTab(link);
    const mine = ana.chat.row('Tae at five?');
    await mine.edit();
    await mine.field.fill('  ');
    await mine.save.click();
    await expect(mine.problem).toContainText('The message is empty');
    await mine.field.fill('Tea at five?');
    await expect(mine.problem).toBeHidden();
    // in the other tab it is removed meanwhile
    await tab.chat.row('Tae at five?').remove();
    const gone = ana.chat.removed;
    await expect(gone.row).toBeVisible();
    await gone.save.click();
    await expect(gone.problem).toContainText('not there any more');
    await expect(gone.field).toHaveValue('Tea at five?');
    await gone.cancel.click();
    await expect(gone.field).toBeHidden();
    await expect(ana.chat.composer).toBeVisible();
  });

  test('a chat that is locked meanwhile: nothing is lost', async ({ person }) => {
    const { ana, bea } = await two(person);
    await bea.chat.say('hello there');
    const hers = bea.chat.row('hello there');
    await hers.edit();
    await hers.field.fill('hello here');
    await ana.chat.locked.click();
    await expect(ana.chat.locked).toBeChecked();
    await hers.save.click();
    await expect(hers.problem).toContainText('locked');
    await expect(hers.field).toHaveValue('hello here');
  });

  test('without a connection the form says so, and saves once it is back', async ({ person }) => {
    const { ana, bea } = await two(person);
    const mine = ana.chat.row('Tae at five?');
    await mine.edit();
    await mine.field.fill('Tea at five?');
    await ana.goOffline(true);
    await expect(ana.chat.connection).toHaveText('Offline');
    await mine.save.click();
    await expect(mine.problem).toContainText('connection');
    await expect(mine.field).toHaveValue('Tea at five?');
    await ana.goOffline(false);
    await ana.chat.isConnected();
    await mine.save.click();
    await expect(bea.chat.message('Tea at five?')).toBeVisible();
  });

  test('a piece that cannot be loaded: the form is a page of its own', async ({ person }) => {
    const { ana, bea } = await two(person);
    await ana.page.route(/\/later\/edit\.js/, (route) => route.abort());
    await ana.chat.row('Tae at five?').edit();
    await expect(ana.page).toHaveURL(/\?edit=\d+$/);
    await ana.page.getByRole('textbox', { name: 'Message', exact: true }).fill('Tea at five?');
    await ana.chat.save.click();
    await expect(bea.chat.message('Tea at five?')).toBeVisible();
  });

  test('an undo that is refused puts the text into the field', async ({ person }) => {
    const { ana, bea } = await two(person);
    await bea.chat.say('hello there');
    await bea.chat.row('hello there').remove();
    await expect(bea.chat.undo).toBeVisible();
    await ana.chat.locked.click();
    await expect(ana.chat.locked).toBeChecked();
    await bea.chat.undo.click();
    await expect(bea.chat.composer).toHaveValue('hello there');
    await expect(bea.page.getByRole('status').filter({ hasText: 'Its text is in the field again.' })).toBeVisible();
    await expect(bea.chat.undo).toHaveCount(0);
  });
});

test('a removal is undone within five seconds: by mouse, and by keys', async ({ person }) => {
  const { ana, bea } = await two(person);
  await bea.chat.say('yes');
  const mine = ana.chat.row('Tae at five?');
  await mine.remove();
  await expect(bea.chat.removed.row).toBeVisible();
  await expect(bea.chat.undo).toHaveCount(0);
  await expect(ana.chat.composer).toBeFocused();
  await ana.chat.undo.click();
  await expect(bea.chat.message('Tae at five?')).toBeVisible();
  await expect(ana.chat.undo).toHaveCount(0);
  expect(await bea.chat.texts()).toEqual(['Tae at five?', 'yes']);
  // It may be other words, for all that the others know.
  await expect(ana.chat.row('Tae at five?').edited).toBeVisible();

  await mine.reply.focus();
  await ana.page.keyboard.press('Delete');
  await expect(ana.chat.undo).toBeFocused();
  await ana.page.keyboard.press('Enter');
  await expect(bea.chat.message('Tae at five?')).toBeVisible();

  await mine.remove();
  await expect(ana.chat.undo).toBeVisible();
  await expect(ana.chat.undo).toHaveCount(0, { timeout: 8_000 });
  await expect(ana.chat.removed.row).toBeVisible();
});

test('what an owner removes of others cannot be undone', async ({ person }) => {
  const { ana, bea } = await two(person);
  await bea.chat.say('advertisement');
  await ana.chat.row('advertisement').remove();
  await expect(ana.chat.log.getByText('Message removed by the owner')).toBeVisible();
  await expect(ana.chat.undo).toHaveCount(0);
});

test.describe('on a phone', () => {
  test.use({ contextOptions: { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true } });

  test('a held touch leads to the form, which fits', async ({ person }) => {
    const { ana, bea } = await two(person);
    const mine = ana.chat.row('Tae at five?');
    await mine.hold(() => expect(mine.menu).toBeVisible());
    await mine.item('Edit message').tap();
    await expect(mine.field).toBeInViewport({ ratio: 1 });
    await expect(mine.save).toBeInViewport({ ratio: 1 });
    await mine.field.fill('Tea at five?');
    await mine.save.tap();
    await expect(bea.chat.message('Tea at five?')).toBeVisible();
  });
});

test.describe('without JavaScript', () => {
  test.use({ contextOptions: { javaScriptEnabled: false }, expected: { words: [/422/] } });

  test('a message is edited by a form with the same names', async ({ person }) => {
    const ana = await person();
    await ana.visit('/');
    await ana.home.startChat({ nickname: 'Ana' });
    await ana.chat.composer.fill('Tae at five?');
    await ana.chat.send.click();
    await ana.chat.row('Tae at five?').more.click();
    await ana.page.getByRole('link', { name: 'Edit message' }).click();
    const field = ana.page.getByRole('textbox', { name: 'Message', exact: true });
    await expect(field).toHaveValue('Tae at five?');
    await expect(ana.page.getByRole('link', { name: 'Cancel' })).toBeVisible();
    await field.fill('');
    await ana.chat.save.click();
    await expect(ana.page.getByRole('alert')).toContainText('The message is empty');
    await field.fill('Tea at five?');
    await ana.chat.save.click();
    await expect(ana.chat.row('Tea at five?').edited).toBeVisible();
  });
});

for (const colorScheme of ['light', 'dark'] as const) {
  for (const width of [360, 768, 1440]) {
    test(`an edit, and what was edited and removed, are accessible when it is ${colorScheme}, at ${width} pixels`, async ({ person }, info) => {
      const ana = await person({ colorScheme, viewport: { width, height: 720 } });
      await ana.startChat({ nickname: 'Ana' });
      await ana.chat.say('Tae at five?');
      await ana.chat.say('And cake');
      const look = async (name: string) => {
        await ana.page.screenshot({ path: info.outputPath(`${name}-${colorScheme}-${width}.png`) });
        await expectAccessible(ana);
        expect(await ana.page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
      };
      const row = ana.chat.row('Tae at five?');
      await row.edit();
      await expect(row.field).toBeFocused();
      await look('editing');
      await row.field.fill('x'.repeat(4_010));
      await expect(row.row).toContainText('10 too many');
      await look('editing-too-long');
      await row.field.fill('Tea at five?');
      await row.save.click();
      await expect(ana.chat.row('Tea at five?').edited).toBeVisible();
      await look('edited');
      await ana.chat.row('And cake').remove();
      await expect(ana.chat.undo).toBeVisible();
      await look('removed');
    });
  }
}
