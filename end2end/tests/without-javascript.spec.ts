import { expect, test } from '../support/story.ts';

test.use({ contextOptions: { javaScriptEnabled: false } });

test('a chat can be started, read and posted in by ordinary forms', async ({ person }) => {
  const ana = await person();
  await ana.visit('/');
  await expect(ana.home.anotherNickname).toBeHidden();
  await ana.home.startChat({ nickname: 'Ana', title: 'Plain & simple', private: true });
  await expect(ana.chat.heading).toHaveText('Plain & simple');
  await expect(ana.page.getByText('Private', { exact: true })).toBeVisible();
  await expect(ana.chat.copyLink).toBeHidden();
  await ana.chat.composer.fill('one\ntwo');
  await ana.chat.send.click();
  await expect(ana.chat.message('one\ntwo')).toBeInViewport();
  expect(await ana.chat.texts()).toEqual(['one\ntwo']);

  const bea = await person({ javaScriptEnabled: true });
  await bea.open(ana.page.url());
  await bea.chat.say('hello from the other side');
  await expect(bea.chat.message('one\ntwo')).toBeVisible();
  await ana.page.getByRole('link', { name: 'Load again' }).click();
  await expect(ana.chat.message('hello from the other side')).toBeInViewport();
  await expect(ana.chat.members).toHaveCount(2);
  await ana.chat.composer.fill('and back');
  await ana.chat.send.click();
  await expect(bea.chat.message('and back')).toBeVisible();
});

test.describe('a form that is refused', () => {
  test.use({ expected: { words: [/422/] } });
  test('comes back with what was written', async ({ person }) => {
    const ana = await person();
    await ana.startChat({ nickname: 'Ana' });
    await ana.chat.composer.fill('x'.repeat(4_001));
    await ana.chat.send.click();
    await expect(ana.page.getByRole('alert')).toContainText('The message is too long.');
    await expect(ana.chat.composer).toHaveValue('x'.repeat(4_001));
    await ana.chat.composer.fill('short enough');
    await ana.chat.send.click();
    await expect(ana.chat.message('short enough')).toBeVisible();

    await ana.visit('/');
    await ana.home.startChat({ nickname: 'W'.repeat(21), title: 'Kept', private: true });
    await expect(ana.home.problem).toContainText('The nickname is too long.');
    await expect(ana.home.nickname).toHaveValue('W'.repeat(21));
    await expect(ana.home.title).toHaveValue('Kept');
    await expect(ana.home.private).toBeChecked();
    await ana.home.startChat({ nickname: 'Ana' });
    await expect(ana.chat.heading).toHaveText('Kept');
  });
});
