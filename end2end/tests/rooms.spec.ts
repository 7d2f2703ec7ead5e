import { expect, test } from '../support/story.ts';

test('the owner edits the title in place, and all members see it at once', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana', title: 'Tea' });
  const bea = await person();
  await bea.open(link);
  await expect(bea.chat.editTitle).toHaveCount(0);

  await ana.chat.editTitle.click();
  await expect(ana.chat.title).toBeFocused();
  await expect(ana.chat.title).toHaveValue('Tea');
  await ana.chat.title.fill('x'.repeat(101));
  await ana.chat.save.click();
  await expect(ana.chat.alert).toHaveText('The title is too long. It can have up to 100 characters.');
  await ana.chat.title.fill('Coffee & <cake>');
  await ana.chat.title.press('Enter');
  await expect(ana.chat.editTitle).toBeFocused();
  for (const one of [ana, bea]) await expect(one.chat.heading).toHaveText('Coffee & <cake>');
  await expect(ana.chat.log.getByText('You changed the title to Coffee & <cake>')).toBeVisible();
  await expect(bea.chat.log.getByText('Ana changed the title to Coffee & <cake>')).toBeVisible();
  await bea.page.reload();
  await expect(bea.chat.heading).toHaveText('Coffee & <cake>');

  // A click on the title starts editing as well.
  const title = (await ana.chat.heading.boundingBox())!;
  await ana.page.mouse.click(title.x + 10, title.y + title.height / 2);
  await ana.chat.title.fill('never');
  await ana.chat.title.press('Escape');
  await expect(ana.chat.heading).toHaveText('Coffee & <cake>');
});

test('the owner makes the chat private and public again, and all members see it at once', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  await expect(bea.chat.public).toHaveCount(0);
  await expect(bea.page.getByText('Public', { exact: true })).toBeVisible();
  await expect(ana.chat.public).toBeChecked();
  await ana.chat.public.click();
  await expect(ana.chat.public).not.toBeChecked();
  await expect(bea.page.getByText('Private', { exact: true })).toBeVisible();
  await expect(bea.chat.log.getByText('Ana made this chat private')).toBeVisible();
  await ana.chat.public.press('Space');
  await expect(ana.chat.public).toBeChecked();
  await expect(bea.page.getByText('Public', { exact: true })).toBeVisible();
});

test('a nickname is changed by clicking it, in all tabs and lists at once', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  await ana.chat.say('as Ana');
  const otherTab = await ana.newTab(link);

  // A click anywhere on the user's own row.
  await ana.chat.members.first().click({ position: { x: 20, y: 20 } });
  await expect(ana.chat.nickname).toHaveValue('Ana');
  await ana.chat.nickname.fill('W'.repeat(21));
  await ana.chat.save.click();
  await expect(ana.chat.alert).toHaveText('The nickname is too long. It can have up to 20 characters.');
  await ana.chat.nickname.fill('Anna Lena');
  await ana.chat.save.click();
  for (const one of [ana, bea, otherTab]) {
    await expect(one.chat.member('Anna Lena')).toBeVisible();
    await expect(one.chat.members).toHaveCount(2);
    await expect(one.chat.message('as Ana')).toContainText('Ana');
    await expect(one.chat.message('as Ana')).not.toContainText('Anna Lena');
  }
  await expect(bea.chat.log.getByText('Ana is now called Anna Lena')).toBeVisible();
  await expect(otherTab.chat.log.getByText('You are now called Anna Lena')).toBeVisible();
  await otherTab.chat.say('from the other tab');
  await expect(bea.chat.message('from the other tab')).toContainText('Anna Lena');
});

test('a rename in a chat is not undone by a home page that was open before', async ({ person }) => {
  const ana = await person();
  await ana.visit('/');
  const tab = await ana.page.context().newPage();
  await tab.goto(ana.server.url);
  await ana.home.startChat({ nickname: 'Ana' });
  await ana.chat.isOpen();
  await tab.getByRole('button', { name: 'Start chat' }).click();
  await tab.waitForURL(/chat/);
  await expect(tab.getByRole('heading', { level: 1 })).toHaveText('Ana’s chat');
});

test.describe('without a limit', () => {
  test.use({ settings: { QCHAT_RENAME_RATE: 'off' } });
  test('a thousand renames are one line, and what came before them is still there', async ({ person }) => {
    const ana = await person();
    const link = await ana.startChat({ nickname: 'Ana' });
    await ana.chat.say('the first word');
    for (let said = 0; said < 120; said += 30) {
      await ana.chat.sayAll(Array.from({ length: 30 }, (_, index) => `/nick Ana ${said + index + 1}`));
      await expect(ana.chat.log.getByText(`You are now called Ana ${said + 30}`)).toBeVisible();
    }
    const bea = await person();
    await bea.open(link);
    await expect(bea.chat.message('the first word')).toBeVisible();
    await expect(bea.chat.messages).toHaveCount(4);
  });
});

test('slashes: /nick renames, /help helps, others are explained to their author alone, // posts one', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  await ana.chat.say('/nick Anna Lena');
  await expect(bea.chat.member('Anna Lena')).toBeVisible();
  await expect(ana.chat.composer).toHaveValue('');

  await ana.chat.say('/nick');
  await expect(ana.chat.alert).toContainText('for example /nick Ana');
  await expect(ana.chat.composer).toHaveValue('/nick');
  await ana.chat.say('/dance');
  await expect(ana.chat.alert).toContainText('There is no such command.');
  await expect(ana.chat.composer).toHaveValue('/dance');
  await ana.chat.say('/help');
  await expect(ana.chat.alert).toContainText('Write /nick and a name');
  await ana.chat.say('//dance');
  await expect(ana.chat.alert).toHaveCount(0);
  await expect(bea.chat.message('/dance')).toBeVisible();
  expect(await bea.chat.texts()).toEqual(['/dance']);
});

test.describe('without a connection', () => {
  test.use({ expected: { words: [/WebSocket connection to .* failed/, /ERR_CONNECTION_REFUSED/, /ERR_INTERNET_DISCONNECTED/] } });
  test('a change is refused in words and can be tried again', async ({ person }) => {
    const ana = await person();
    await ana.startChat({ nickname: 'Ana', title: 'Tea' });
    await ana.goOffline(true);
    await expect(ana.chat.connection).toHaveText('Offline');
    await ana.chat.editTitle.click();
    await ana.chat.title.fill('Coffee');
    await ana.chat.save.click();
    await expect(ana.chat.alert).toContainText('There is no connection just now');
    await ana.chat.say('/nick Bea');
    await expect(ana.chat.composer).toHaveValue('/nick Bea');
    await ana.goOffline(false);
    await ana.chat.isConnected();
    await ana.chat.save.click();
    await expect(ana.chat.heading).toHaveText('Coffee');
  });
});
