import { expect, test } from '../support/story.ts';

test('public chats are listed live, those with people first, then the newest, with their members', async ({ person }) => {
  const cy = await person();
  await cy.visit('/');
  await cy.home.isConnected();
  await expect(cy.home.listings).toHaveCount(0);
  await expect(cy.page.getByText('No public chats yet.')).toBeVisible();
  await expect(cy.home.people).toHaveText('1 person online');
  await expect(cy.home.chats).toHaveText('0 open chats');

  const ana = await person();
  await ana.startChat({ nickname: 'Ana', title: 'Tea at five' });
  const tea = cy.home.listing('Tea at five');
  await expect(tea).toContainText('One person here');
  await expect(tea).toContainText('started just now');
  const bea = await person();
  await bea.startChat({ nickname: 'Bea', title: 'Tom & Jerry <b>' });
  await expect.poll(() => cy.home.titles()).toEqual(['Tom & Jerry <b>', 'Tea at five']);
  const hidden = await person();
  await hidden.startChat({ title: 'Secret', private: true });
  await expect(cy.home.chats).toHaveText('3 open chats');
  await expect(cy.home.people).toHaveText('4 people online');
  expect(await cy.home.titles()).toEqual(['Tom & Jerry <b>', 'Tea at five']);

  await bea.visit(new URL(ana.page.url()).pathname);
  await expect(tea).toContainText('Two people here');
  await expect(cy.home.listing('Tom & Jerry <b>')).toContainText('Nobody here');
  await expect.poll(() => cy.home.titles()).toEqual(['Tea at five', 'Tom & Jerry <b>']);
  await ana.chat.say('hello');
  await expect(tea).toContainText('last message just now');
  await ana.chat.editTitle.click();
  await ana.chat.title.fill('Coffee at five');
  await ana.chat.save.click();
  await expect(cy.home.listing('Coffee at five')).toBeVisible();
  await ana.chat.public.click();
  await expect(cy.home.listings).toHaveCount(1);
  await ana.chat.public.click();
  await expect(cy.home.listings).toHaveCount(2);

  await cy.home.listing('Coffee at five').getByRole('link').click();
  await cy.chat.isOpen();
  await expect(ana.chat.members).toHaveCount(3);
});

test('nothing moves that is about to be clicked: new chats wait to be asked for', async ({ person }) => {
  const [ana, bea, cy] = [await person(), await person(), await person()];
  await ana.startChat({ title: 'Tea' });
  await cy.visit('/');
  await expect(cy.home.listings).toHaveCount(1);
  await cy.home.listing('Tea').hover();
  await bea.startChat({ title: 'Coffee' });
  await expect(cy.home.newChats).toHaveText('1 new chat');
  expect(await cy.home.titles()).toEqual(['Tea']);
  // The details of the listed chats are updated meanwhile.
  await ana.chat.say('hello');
  await expect(cy.home.listing('Tea')).toContainText('last message just now');
  await cy.home.newChats.click();
  expect(await cy.home.titles()).toEqual(['Coffee', 'Tea']);
  await expect(cy.home.newChats).toHaveCount(0);
  await cy.home.start.hover();

  // The same holds for the keyboard focus.
  await cy.home.filter.focus();
  await cy.page.keyboard.press('Tab');
  await expect(cy.home.listing('Coffee').getByRole('link')).toBeFocused();
  await bea.startChat({ title: 'Water' });
  await expect(cy.home.newChats).toHaveText('1 new chat');
  await cy.home.filter.focus();
  await expect.poll(() => cy.home.titles()).toEqual(['Water', 'Tea', 'Coffee']);
});

test('the counters are there in a chat, too, and count a person once', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  await expect(ana.chat.people).toHaveText('1 person online');
  await expect(ana.chat.chats).toHaveText('1 open chat');
  await ana.newTab(link);
  const bea = await person();
  await bea.visit('/');
  await expect(ana.chat.people).toHaveText('2 people online');
  await bea.home.startChat();
  await expect(ana.chat.chats).toHaveText('2 open chats');
  await bea.leave();
  await expect(ana.chat.people).toHaveText('1 person online');
});

test('a filter finds a chat by its title, and survives coming back', async ({ person }) => {
  const ana = await person();
  for (const title of ['Tea at five', 'Coffee at six', 'Green tea']) await ana.startChat({ title });
  await ana.visit('/');
  await expect(ana.home.listings).toHaveCount(3);
  await ana.home.filter.pressSequentially('TEA');
  await expect.poll(() => ana.home.titles()).toEqual(['Green tea', 'Tea at five']);
  const bea = await person();
  await bea.startChat({ title: 'Iced tea' });
  await expect.poll(() => ana.home.titles()).toEqual(['Iced tea', 'Green tea', 'Tea at five']);
  await ana.home.filter.fill('no such chat');
  await expect(ana.home.listings).toHaveCount(0);
  await expect(ana.page.getByText('No public chat has this in its title.')).toBeVisible();
  await ana.home.filter.fill('coffee');
  await ana.home.listing('Coffee at six').getByRole('link').click();
  await ana.chat.isOpen();
  await ana.page.goBack();
  await ana.home.isConnected();
  await expect(ana.home.filter).toHaveValue('coffee');
  await expect.poll(() => ana.home.titles()).toEqual(['Coffee at six']);
});

test.describe('with many chats', () => {
  test.use({ settings: { QCHAT_CHAT_RATE: 'off', QCHAT_MAX_LISTED: '100' } });
  test('a long list is shown in parts', async ({ person, server }) => {
    const ana = await person();
    await ana.visit('/');
    await ana.page.evaluate(async () => {
      for (let number = 1; number <= 60; number++) {
        const body = new URLSearchParams({ nickname: '', title: `Chat ${number}` });
        await fetch('/api/start_chat', { method: 'POST', body });
      }
    });
    await expect(ana.home.listings).toHaveCount(50);
    await expect(ana.page.getByText('50 of 60')).toBeVisible();
    await ana.home.more.click();
    await expect(ana.home.listings).toHaveCount(60);
    await expect(ana.home.more).toHaveCount(0);
    expect((await ana.home.titles()).slice(0, 2)).toEqual(['Chat 60', 'Chat 59']);

    const plain = await person({ javaScriptEnabled: false });
    await plain.visit('/');
    await expect(plain.home.listings).toHaveCount(50);
    await plain.home.more.click();
    await expect(plain.home.listings).toHaveCount(60);
    await plain.home.filter.fill('chat 5');
    await plain.home.filter.press('Enter');
    await expect(plain.home.listings).toHaveCount(11);
    await plain.home.listing('Chat 50').getByRole('link').click();
    await expect(plain.chat.heading).toHaveText('Chat 50');
    expect(server.url).toBe(new URL(plain.page.url()).origin);
  });
});

test.describe('when the server goes and comes', () => {
  test.use({ expected: { words: [/WebSocket connection to .* failed/, /ERR_CONNECTION_REFUSED/] } });
  test('the list says so and is right again', async ({ person, server }) => {
    const ana = await person();
    await ana.startChat({ title: 'Tea' });
    await ana.visit('/');
    await ana.home.isConnected();
    await server.kill();
    await expect(ana.home.connection).toHaveText('Reconnecting');
    await server.startAgain();
    await ana.home.isConnected();
    const bea = await person();
    await bea.startChat({ title: 'Coffee' });
    await expect.poll(() => ana.home.titles()).toEqual(['Coffee', 'Tea']);
  });
});
