import { expect, test } from '../support/story.ts';

test('a draft survives what comes in, a reload, and the way home and back', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  await expect(bea.chat.composer).toBeFocused();
  await bea.chat.composer.pressSequentially('half a thou');
  await ana.chat.say('something comes in');
  await expect(bea.chat.message('something comes in')).toBeVisible();
  await expect(bea.chat.composer).toHaveValue('half a thou');
  await expect(bea.chat.composer).toBeFocused();

  await bea.page.reload();
  await expect(bea.chat.composer).toHaveValue('half a thou');
  await bea.visit('/');
  await bea.page.goBack();
  await expect(bea.chat.composer).toHaveValue('half a thou');
  const otherTab = await bea.newTab(link);
  await expect(otherTab.chat.composer).toHaveValue('');

  await bea.chat.isConnected();
  await bea.chat.composer.pressSequentially('ght');
  await bea.chat.composer.press('Enter');
  await expect(ana.chat.message('half a thought')).toBeVisible();
  await bea.page.reload();
  await bea.chat.isConnected();
  await expect(bea.chat.composer).toHaveValue('');
});
