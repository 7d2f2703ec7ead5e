import { expect, test } from '../support/story.ts';

test('authors remove their own messages, and the owner those of others', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  await bea.chat.say('mine to take back');
  await bea.chat.say('for the owner to remove');
  await bea.chat.say('stays');
  await ana.chat.say('the owner speaks');
  await expect(bea.chat.message('the owner speaks')).toBeVisible();

  await bea.chat.aboutMessage('the owner speaks');
  await expect(bea.chat.act('Remove message')).toHaveCount(0);
  await bea.page.keyboard.press('Escape');
  await expect(bea.chat.about).toHaveCount(0);

  await bea.chat.aboutMessage('mine to take back');
  await expect(bea.chat.about).toContainText('mine to take back');
  await bea.chat.act('Remove message').click();
  await expect(bea.chat.about).toHaveCount(0);
  await expect(bea.chat.composer).toBeFocused();
  await ana.chat.aboutMessage('for the owner to remove');
  await ana.chat.act('Remove message').click();

  const texts = ['stays', 'the owner speaks'];
  for (const one of [ana, bea]) {
    await expect(one.chat.log.getByText('Message removed', { exact: true })).toBeVisible();
    await expect(one.chat.log.getByText('Message removed by the owner')).toBeVisible();
    expect(await one.chat.texts()).toEqual(texts);
  }
  await bea.page.reload();
  await bea.chat.isOpen();
  expect(await bea.chat.texts()).toEqual(texts);
  expect(await (await bea.page.request.get(link)).text()).not.toContain('mine to take back');
});

test.describe('removed', () => {
  test.use({ expected: { words: [/403/] } });

  test('a removed member is told so, cannot return, and can be readmitted', async ({ person }) => {
    const ana = await person();
    const link = await ana.startChat({ nickname: 'Ana', title: 'Tea' });
    const bea = await person();
    await bea.open(link);
    await bea.chat.say('/nick Bea');
    await bea.chat.composer.fill('half a thought');
    await ana.chat.aboutMember('Bea');
    await ana.chat.act('Remove Bea from this chat').click();

    const said = 'The owner has removed you from this chat.';
    await expect(bea.chat.alert).toContainText(said);
    await expect(bea.chat.composer).toHaveValue('half a thought');
    await expect(ana.chat.members).toHaveCount(1);
    await expect(ana.chat.log.getByText('You removed Bea')).toBeVisible();
    await bea.page.reload();
    await expect(bea.page.getByText(said)).toBeVisible();
    await expect(bea.page.getByRole('heading', { name: 'Tea' })).toHaveCount(0);

    await ana.chat.log.getByRole('button', { name: 'About Bea' }).click();
    await ana.chat.act('Let Bea return').click();
    await expect(ana.chat.log.getByText('You readmitted Bea')).toBeVisible();
    await bea.page.reload();
    await bea.chat.isOpen();
    await bea.chat.say('here again');
    await expect(ana.chat.message('here again')).toBeVisible();
  });

  test('one act removes a member with all their messages, and a removed member takes back their own', async ({ person }) => {
    const ana = await person();
    const link = await ana.startChat({ nickname: 'Ana', title: 'Tea' });
    const [bea, cy] = [await person(), await person()];
    for (const [one, name] of [[bea, 'Bea'], [cy, 'Cy']] as const) {
      await one.open(link);
      await one.chat.say(`/nick ${name}`);
      await one.chat.say(`first of ${name}`);
      await one.chat.say(`second of ${name}`);
    }
    await ana.chat.say('stays');
    await ana.chat.aboutMember('Bea');
    await ana.chat.act('Remove Bea and all their messages').click();
    await expect(ana.chat.log.getByText('You removed Bea and all their messages')).toBeVisible();
    await expect(ana.chat.log.getByText('Message removed by the owner')).toHaveCount(2);
    await expect(bea.chat.alert).toContainText('The owner has removed you from this chat.');

    await ana.chat.aboutMember('Cy');
    await ana.chat.act('Remove Cy from this chat').click();
    await cy.chat.alert.getByRole('button', { name: 'Remove what I said there' }).click();
    await expect(cy.page).toHaveURL(new URL('/', cy.server.url).href);
    await expect(ana.chat.log.getByText('Message removed', { exact: true })).toHaveCount(2);
    expect(await ana.chat.texts()).toEqual(['stays']);
  });
});

test('in a locked chat only the owner writes, and nothing begun is lost', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  await bea.chat.composer.fill('half a thought');
  await expect(bea.chat.locked).toHaveCount(0);
  await ana.chat.locked.click();
  await expect(ana.chat.locked).toBeChecked();
  await expect(bea.chat.log.getByText('Ana locked this chat')).toBeVisible();
  await expect(bea.chat.composer).toHaveValue('half a thought');
  await expect(bea.chat.composer).not.toBeEditable();
  await expect(bea.chat.lock).toHaveText('Locked: only the owner can write.');
  await expect(ana.chat.lock).toBeEmpty();
  await bea.chat.composer.press('Enter');
  await expect(bea.chat.alert).toContainText('This chat is locked');
  await ana.chat.say('listen');
  await expect(bea.chat.message('listen')).toBeVisible();
  await ana.chat.locked.press('Space');
  await expect(ana.chat.locked).not.toBeChecked();
  await expect(bea.chat.composer).toBeEditable();
  await expect(bea.chat.lock).toBeEmpty();
  await expect(bea.chat.alert).toHaveCount(0);
  await bea.chat.composer.press('Enter');
  await expect(ana.chat.message('half a thought')).toBeVisible();
});

test('a hidden member is not shown to the user who hid them, on any of their pages', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  await bea.chat.say('/nick Bea');
  const cy = await person();
  await cy.open(link);
  await cy.chat.say('/nick Cy');
  // Otherwise the line about Cy's nickname could come between the two messages, which would then not be grouped.
  await expect(bea.chat.member('Cy')).toBeVisible();
  await bea.chat.say('first');
  await bea.chat.say('second');
  const otherTab = await cy.newTab(link);
  await cy.chat.aboutMessage('first');
  await cy.chat.act('Hide Bea').click();

  const hidden = '2 messages from Bea, whom you have hidden';
  for (const { chat } of [cy, otherTab]) {
    await expect(chat.log.getByText(hidden)).toBeVisible();
    await expect(chat.message('first')).toHaveCount(0);
    await expect(chat.member('Bea')).toContainText('hidden');
  }
  await expect(ana.chat.message('first')).toBeVisible();
  await cy.page.reload();
  await cy.chat.isOpen();
  await expect(cy.chat.log.getByText(hidden)).toBeVisible();
  await expect(bea.chat.privately('Ana')).toBeVisible();
  await bea.chat.say('third');
  await expect(cy.chat.log.getByText('3 messages from Bea, whom you have hidden')).toBeVisible();
  await ana.chat.say('between');
  await expect(cy.chat.message('between')).toBeVisible();
  await cy.chat.log.getByRole('button', { name: 'Show Bea again' }).click();
  for (const { chat } of [cy, otherTab]) {
    await expect(chat.message('third')).toBeVisible();
    await expect.poll(() => chat.texts()).toEqual(['first', 'second', 'third', 'between']);
  }
});

test('the keyboard is enough to find any message and act on it', async ({ person }) => {
  const ana = await person();
  await ana.startChat({ nickname: 'Ana' });
  for (const text of ['one', 'two', 'three']) await ana.chat.say(text);
  const one = ana.chat.row('one');
  await expect(ana.chat.row('three').reply).toBeVisible();
  await ana.chat.log.focus();
  await ana.page.keyboard.press('Tab');
  await expect(ana.chat.row('three').reply).toBeFocused();
  await ana.page.keyboard.press('ArrowUp');
  await ana.page.keyboard.press('ArrowUp');
  await expect(one.reply).toBeFocused();
  await ana.page.keyboard.press('ArrowRight');
  await ana.page.keyboard.press('ArrowRight');
  await expect(one.more).toBeFocused();
  for (const [open, close] of [['Enter', 'Escape'], ['Space', 'Space']] as const) {
    await ana.page.keyboard.press(open);
    await expect(one.menu).toBeVisible();
    await ana.page.keyboard.press('a');
    await expect(one.item('About your message')).toBeFocused();
    await ana.page.keyboard.press('Enter');
    await expect(ana.chat.about).toBeVisible();
    if (close === 'Space') await ana.chat.act('Close').press(close);
    else await ana.page.keyboard.press(close);
    await expect(ana.chat.about).toHaveCount(0);
    await expect(one.more).toBeFocused();
  }
  await ana.page.keyboard.press('Tab');
  await expect(ana.chat.composer).toBeFocused();
});

test('a dialog that opens as another closes stays, and a message removed meanwhile goes from it', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  await ana.chat.say('a secret');
  await bea.chat.aboutMember('Ana');
  // The focus is back on the link at once, but the browser fires the close event later.
  await bea.chat.about.evaluate(async (dialog: HTMLDialogElement) => {
    const told = new Promise((tell) => dialog.addEventListener('close', tell, { once: true }));
    dialog.close();
    (document.activeElement as HTMLElement).click();
    await told;
    await new Promise(requestAnimationFrame);
  });
  await expect(bea.chat.about).toContainText('Ana');
  await bea.page.keyboard.press('Escape');
  await bea.chat.aboutMessage('a secret');
  await expect(bea.chat.about).toContainText('a secret');
  await ana.chat.aboutMessage('a secret');
  await ana.chat.act('Remove message').click();
  await expect(bea.chat.message('a secret')).toHaveCount(0);
  await expect(bea.chat.about).toBeVisible();
  await expect(bea.chat.about).not.toContainText('a secret');
});

test.describe('when the server goes', () => {
  test.use({ expected: { words: [/WebSocket connection to .* failed/, /ERR_CONNECTION_REFUSED/] } });

  for (const viewport of [
    { width: 1280, height: 720 },
    { width: 390, height: 780 },
  ]) {
    test(`the reason of a refusal moves nothing that can be pressed, at ${viewport.width} px`, async ({ person, server }) => {
      const ana = await person({ viewport });
      const bea = await person();
      await bea.open(await ana.startChat({ nickname: 'Ana' }));
      await bea.chat.say('a word');
      await expect(ana.chat.message('a word')).toBeVisible();
      await ana.chat.aboutMessage('a word');
      await server.kill();
      await expect(ana.chat.connection).toContainText('Reconnecting');
      const places = async () => {
        const buttons = await ana.chat.about.getByRole('button').all();
        return Promise.all(buttons.map(async (button) => (await button.boundingBox())!.y));
      };
      const before = await places();
      await ana.chat.about.getByRole('button', { name: 'Remove message' }).click();
      await expect(ana.chat.about.getByRole('alert')).toContainText('no connection');
      expect(await places()).toEqual(before);
    });
  }
});
