import { expect, test } from '../support/story.ts';

test('typing shows beside the name, ends when the message is posted, and fades when the author stops', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  const cy = await person({ viewport: { width: 390, height: 780 } });
  await cy.open(link);
  await ana.chat.composer.pressSequentially('hello');
  await expect(bea.chat.member('Ana')).toContainText('typing');
  await expect(cy.page.getByText('Ana is typing')).toBeVisible();
  await cy.chat.openMembers.click();
  await expect(cy.chat.member('Ana')).toContainText('typing');
  await expect(ana.chat.members.first()).not.toContainText('typing');
  await ana.chat.composer.press('Enter');
  await expect(bea.chat.message('hello')).toBeVisible();
  // At once, not after the pause of three seconds.
  await expect(bea.chat.member('Ana')).not.toContainText('typing', { timeout: 1_000 });

  await ana.chat.composer.pressSequentially('never m');
  await expect(bea.chat.member('Ana')).toContainText('typing');
  // Three seconds after the last key press.
  await expect(bea.chat.member('Ana')).not.toContainText('typing');
  await expect(cy.page.getByText('Ana is typing')).toBeHidden();
});

test('at most one signal a second is sent, and none for a command', async ({ person }) => {
  const ana = await person();
  const sent: string[] = [];
  ana.page.on('websocket', (socket) => {
    socket.on('framesent', ({ payload }) => {
      if (String(payload).includes('typing')) sent.push(String(payload));
    });
  });
  await ana.startChat();
  await ana.chat.composer.pressSequentially('/nick Anna');
  expect(sent).toHaveLength(0);
  await ana.chat.composer.fill('');
  const started = Date.now();
  await ana.chat.composer.pressSequentially('a long line that is typed quickly', { delay: 20 });
  const seconds = (Date.now() - started) / 1_000;
  expect(sent.length).toBeGreaterThan(0);
  expect(sent.length).toBeLessThanOrEqual(Math.ceil(seconds));
});
