// Writing: what is completed, what is offered, and the keys.

import { AxeBuilder } from '@axe-core/playwright';
import { type Person, expect, test } from '../support/story.ts';

const suggestions = (one: Person, name: string) => one.page.getByRole('listbox', { name, exact: true });
const option = (one: Person, list: string, name: string | RegExp) => suggestions(one, list).getByRole('option', { name });
/** Returns the id of the option that the field says is active. */
const active = (one: Person) => one.chat.composer.getAttribute('aria-activedescendant');

async function expectAccessible(one: Person): Promise<void> {
  const { violations } = await new AxeBuilder({ page: one.page }).analyze();
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(' ')}`)).toEqual([]);
}

test('an @ completes the names of who is here or has spoken, by keys', async ({ person }) => {
  const [ana, bea, cy] = [await person(), await person(), await person()];
  const link = await ana.startChat({ nickname: 'Ana' });
  for (const [one, name] of [[bea, 'Bea Maria'], [cy, 'Cy']] as const) {
    await one.open(link);
    await one.chat.say(`/nick ${name}`);
    await one.chat.say(`I am ${name}`);
  }
  await expect(ana.chat.message('I am Cy')).toBeVisible();
  await cy.leave();
  await ana.chat.composer.pressSequentially('hello @');
  await expect(suggestions(ana, 'People').getByRole('option')).toHaveCount(2);
  expect(await active(ana)).toBeNull();
  await ana.chat.composer.pressSequentially('mar');
  await expect(option(ana, 'People', 'Bea Maria')).toHaveAttribute('aria-selected', 'true');
  await expectAccessible(ana);
  await ana.chat.composer.press('Enter');
  await expect(ana.chat.composer).toHaveValue('hello @Bea Maria ');
  await expect(suggestions(ana, 'People')).toBeHidden();

  await ana.chat.composer.pressSequentially('and @');
  await ana.chat.composer.press('ArrowDown');
  await ana.chat.composer.press('ArrowDown');
  await expect(option(ana, 'People', 'Cy')).toHaveAttribute('aria-selected', 'true');
  await ana.chat.composer.press('Tab');
  await expect(ana.chat.composer).toHaveValue('hello @Bea Maria and @Cy ');
  await expect(ana.chat.composer).toBeFocused();
  await ana.chat.composer.press('Enter');
  await expect(ana.chat.composer).toHaveValue('');
  const hers = bea.chat.messages.filter({ hasText: 'hello' });
  await expect(hers).toHaveClass(/to-me/);
  expect(await hers.locator('.by').evaluate((by) => getComputedStyle(by, '::after').content)).toBe('"mentions you"');
  await expect(ana.chat.messages.filter({ hasText: 'hello' })).not.toHaveClass(/to-me/);
});

test('Escape closes the list and keeps the text, a click chooses, and what is written in full is sent by one Enter', async ({ person }) => {
  const [ana, bea] = [await person(), await person()];
  const link = await ana.startChat({ nickname: 'Ana' });
  await bea.open(link);
  await bea.chat.say('/nick Bea');
  await expect(ana.chat.member('Bea')).toBeVisible();
  await ana.chat.composer.pressSequentially('@b');
  await expect(suggestions(ana, 'People')).toBeVisible();
  await ana.chat.composer.press('Escape');
  await expect(suggestions(ana, 'People')).toBeHidden();
  await expect(ana.chat.composer).toHaveValue('@b');
  await ana.chat.composer.pressSequentially('e');
  await option(ana, 'People', 'Bea').click();
  await expect(ana.chat.composer).toHaveValue('@Bea ');
  await expect(ana.chat.composer).toBeFocused();

  await ana.chat.composer.fill('');
  await ana.chat.composer.pressSequentially('look, @bea');
  await expect(suggestions(ana, 'People')).toBeVisible();
  await ana.chat.composer.press('Enter');
  await expect(bea.chat.message('look, @bea')).toBeVisible();
});

test('of two people with one name the one who was chosen is meant', async ({ person }) => {
  const [ana, bea, other] = [await person(), await person(), await person()];
  const link = await ana.startChat({ nickname: 'Ana' });
  for (const one of [bea, other]) {
    await one.open(link);
    await one.chat.say('/nick Bea');
  }
  await expect(ana.chat.member('Bea')).toHaveCount(2);
  const isMeant = (one: Person) => one.chat.messages.filter({ hasText: 'is it you' }).evaluate((row) => row.classList.contains('to-me'));
  await ana.chat.composer.pressSequentially('@b');
  await option(ana, 'People', 'Bea').last().click();
  await ana.page.keyboard.type('is it you');
  await ana.page.keyboard.press('Enter');
  for (const one of [bea, other]) await expect(one.chat.messages.filter({ hasText: 'is it you' })).toBeVisible();
  expect((await Promise.all([isMeant(bea), isMeant(other)])).sort()).toEqual([false, true]);
});

test('mentions count apart in the title, and a button leads to those that were not in view', async ({ person }) => {
  const [ana, bea] = [await person(), await person()];
  const link = await ana.startChat({ nickname: 'Ana', title: 'Tea' });
  await bea.open(link);
  await bea.chat.say('hello');
  await expect(ana.chat.message('hello')).toBeVisible();
  await ana.lookAway(true);
  await bea.chat.say('@Ana, tea?');
  await bea.chat.sayAll(Array.from({ length: 30 }, (_, index) => `line ${index + 1}`));
  await bea.chat.say('@Ana, or cake?');
  await expect(ana.page).toHaveTitle('(@2 30) Tea · Qchat');
  await ana.lookAway(false);
  await expect(ana.page).toHaveTitle('Tea · Qchat');
  const first = ana.chat.messages.filter({ hasText: 'tea?' });
  await expect(ana.chat.messages.filter({ hasText: 'or cake?' })).toBeInViewport();
  await expect(first).not.toBeInViewport();
  await expect(ana.chat.nextMention).toBeVisible();
  await expectAccessible(ana);
  await ana.chat.nextMention.click();
  await expect(first).toBeInViewport();
  await expect(ana.chat.nextMention).toHaveCount(0);
});

test('what is called as nobody is, everybody and here are plain text', async ({ person }) => {
  const [ana, bea] = [await person(), await person()];
  const link = await ana.startChat({ nickname: 'Ana', title: 'Tea' });
  await bea.open(link);
  await ana.lookAway(true);
  await bea.chat.say('@everyone @here @Anastasia ana@Ana `@Ana`');
  await expect(ana.page).toHaveTitle('(1) Tea · Qchat');
  await expect(ana.chat.messages.filter({ hasText: '@everyone' })).not.toHaveClass(/to-me/);
});

test('a command is completed with what it takes, and sent when it is complete', async ({ person }) => {
  const ana = await person();
  await ana.startChat({ nickname: 'Ana' });
  await ana.chat.composer.pressSequentially('/');
  await expect(suggestions(ana, 'Commands').getByRole('option')).toHaveText([/^\/nick NAME/, /^\/me WHAT/, /^\/help/, /^\/\//]);
  await ana.chat.composer.pressSequentially('n');
  await ana.chat.composer.press('Enter');
  await expect(ana.chat.composer).toHaveValue('/nick ');
  await ana.chat.composer.pressSequentially('Anna');
  await expect(suggestions(ana, 'Commands')).toBeHidden();
  await ana.chat.composer.press('Enter');
  await expect(ana.chat.member('Anna')).toBeVisible();

  await ana.chat.composer.pressSequentially('/help');
  await expect(suggestions(ana, 'Commands')).toBeVisible();
  await ana.chat.composer.press('Enter');
  await expect(ana.chat.alert).toContainText('/nick');
});

test('an emoji is completed by its name, or replaced when it is named in full, and not in code', async ({ person }) => {
  const ana = await person();
  await ana.startChat({ nickname: 'Ana' });
  await ana.chat.composer.pressSequentially('so :tad');
  await expect(option(ana, 'Emoji', /🎉/)).toHaveAttribute('aria-selected', 'true');
  await ana.chat.composer.press('Enter');
  await expect(ana.chat.composer).toHaveValue('so 🎉 ');
  await ana.chat.composer.pressSequentially('and :heart:');
  await expect(ana.chat.composer).toHaveValue('so 🎉 and ❤️');
  await ana.chat.composer.press('Control+z');
  await expect(ana.chat.composer).toHaveValue('so 🎉 and :heart:');

  await ana.chat.composer.fill('');
  await ana.chat.composer.pressSequentially('`:tada: and at 10:30 `');
  await expect(ana.chat.composer).toHaveValue('`:tada: and at 10:30 `');
  await expect(suggestions(ana, 'Emoji')).toBeHidden();
});

test('long text that is pasted may become a block of code', async ({ person }) => {
  const ana = await person();
  await ana.page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await ana.startChat({ nickname: 'Ana' });
  const code = 'if tea:\n    pour()\n    drink()\nelse:\n    wait()';
  const paste = async (text: string) => {
    await ana.page.evaluate((text) => navigator.clipboard.writeText(text), text);
    await ana.chat.composer.press('Control+v');
  };
  const offer = ana.page.getByRole('group', { name: 'Pasted text' });
  await ana.chat.composer.fill('look: ');
  await ana.chat.composer.press('End');
  await paste(code);
  await expect(offer).toBeVisible();
  await expectAccessible(ana);
  await ana.chat.composer.press('Tab');
  await expect(offer.getByRole('button', { name: 'Make it a code block' })).toBeFocused();
  await ana.page.keyboard.press('Enter');
  await expect(ana.chat.composer).toHaveValue(`look: \n\`\`\`\n${code}\n\`\`\``);
  await expect(offer).toBeHidden();
  await expect(ana.chat.composer).toBeFocused();

  await ana.chat.composer.fill('');
  await paste('a line\nand another');
  await paste(code);
  await offer.getByRole('button', { name: 'Leave it' }).click();
  await expect(ana.chat.composer).toHaveValue(`a line\nand another${code}`);
});

test('? shows all keys, and its switch silences those that are single characters', async ({ person }) => {
  const ana = await person();
  await ana.startChat({ nickname: 'Ana' });
  await ana.chat.say('Tea at five?');
  const keys = ana.page.getByRole('dialog', { name: 'Keys' });
  await ana.chat.composer.fill('');
  await ana.chat.composer.press('?');
  await expect(ana.chat.composer).toHaveValue('?');
  await expect(keys).toBeHidden();
  await ana.chat.log.focus();
  await ana.page.keyboard.press('?');
  await expect(keys).toBeVisible();
  await expect(keys.getByRole('heading')).toHaveText(['While writing', 'On a message', 'On a picture that is shown large', 'While searching', 'Anywhere else']);
  await expectAccessible(ana);
  const box = keys.getByRole('checkbox', { name: /single characters/ });
  await expect(box).toBeChecked();
  await box.uncheck();
  await ana.page.keyboard.press('Escape');
  await expect(keys).toBeHidden();
  await expect(ana.chat.log).toBeFocused();
  await ana.page.keyboard.press('?');
  await ana.chat.row('Tea at five?').reply.focus();
  await ana.page.keyboard.press('+');
  await ana.page.keyboard.press('ArrowRight');
  await expect(ana.chat.row('Tea at five?').react).toBeFocused();
  await expect(ana.page.getByRole('dialog')).toHaveCount(0);
});

test('the field says what Enter does, and what was sent comes back', async ({ person }) => {
  const ana = await person();
  await ana.startChat({ nickname: 'Ana' });
  await expect(ana.chat.composer).toHaveAccessibleDescription('Enter sends, Shift+Enter makes a line');
  await ana.chat.say('Tae at five?');
  await expect(ana.chat.composer).toHaveValue('');
  await ana.chat.composer.press('Control+z');
  await expect(ana.chat.composer).toHaveValue('Tae at five?');
});

test('/me says what one does', async ({ person }) => {
  const [ana, bea] = [await person(), await person()];
  const link = await ana.startChat({ nickname: 'Ana' });
  await bea.open(link);
  await ana.chat.say('/me');
  await expect(ana.chat.alert).toContainText('Write what you do after /me');
  await ana.chat.say('/me waves');
  const row = bea.chat.message('waves');
  await expect(row).toHaveClass(/action/);
  await expect(row).toContainText('Ana');
  await expect(row).not.toContainText('/me');
});

test('an input method has Enter, the arrows and Escape for itself', async ({ person }) => {
  const [ana, bea] = [await person(), await person()];
  const link = await ana.startChat({ nickname: 'Ana' });
  await bea.open(link);
  await bea.chat.say('/nick Bea');
  await expect(ana.chat.member('Bea')).toBeVisible();
  await ana.chat.composer.pressSequentially('@b');
  await expect(suggestions(ana, 'People')).toBeVisible();
  const isTaken = (init: { key: string; isComposing?: boolean; keyCode?: number }) =>
    ana.chat.composer.evaluate((field, init) => !field.dispatchEvent(new KeyboardEvent('keydown', { bubbles: true, cancelable: true, ...init })), init);
  for (const key of ['Enter', 'ArrowDown', 'Escape', 'Tab']) {
    expect(await isTaken({ key, isComposing: true })).toBe(false);
    expect(await isTaken({ key, keyCode: 229 })).toBe(false);
  }
  await expect(suggestions(ana, 'People')).toBeVisible();
  expect(await isTaken({ key: 'ArrowDown' })).toBe(true);
});

test.describe('without the pieces', () => {
  test.use({ expected: { words: [/ERR_FAILED/] } });

  test('what is written is sent as it is', async ({ person }) => {
    const ana = await person();
    await ana.page.route(/\/later\//, (route) => route.abort());
    await ana.startChat({ nickname: 'Ana' });
    await ana.chat.composer.pressSequentially('@nobody :tada: /help');
    await ana.chat.composer.press('Enter');
    await expect(ana.chat.message('@nobody :tada: /help')).toBeVisible();
  });
});
