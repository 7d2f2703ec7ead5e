import { expect, test } from '../support/story.ts';

test.describe('in a chat with room for one member', () => {
  test.use({ settings: { QCHAT_MAX_MEMBERS: '1' } });
  test('a second visitor is told that it is full, and gets in when there is room', async ({ person }) => {
    const ana = await person();
    const link = await ana.startChat();
    const bea = await person();
    await bea.page.goto(link);
    await expect(bea.chat.alert).toContainText('This chat is full');
    // A second tab of a member does not count as another member.
    await ana.newTab(link);
    await ana.leave();
    await expect(async () => {
      await bea.page.getByRole('link', { name: 'Load again' }).click();
      await bea.chat.isConnected();
    }).toPass();
  });
});

test.describe('with one window for each browser', () => {
  test.use({ settings: { QCHAT_MAX_SESSION_SOCKETS: '1' } });
  test('a second window says so instead of retrying for ever, and the first one goes on', async ({ person }) => {
    const ana = await person();
    const link = await ana.startChat();
    const tab = await ana.page.context().newPage();
    await tab.goto(link);
    await expect(tab.getByRole('alert').filter({ hasText: /./ })).toContainText('too many windows of this browser');
    await ana.chat.say('still here');
    await expect(ana.chat.log.getByText('Sending')).toHaveCount(0);
  });
});
