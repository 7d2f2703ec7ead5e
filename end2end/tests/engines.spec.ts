// The main features, tested in each engine.

import { expect, inEngines } from '../support/engine_story.ts';
import { withoutScripts } from '../support/scriptless.ts';

inEngines(['Chromium', 'Firefox', 'WebKit'], (test) => {
  test('two people talk, and see each other type', async ({ person, visitor }) => {
    const ana = await visitor();
    const link = await ana.startChat({ nickname: 'Ana', title: 'Tea at five' });
    await ana.chat.heading.says('Tea at five');
    const bea = await person();
    await bea.startChat({ nickname: 'Bea', private: true });
    await bea.open(link);
    await ana.chat.members.isThere(2);
    await ana.chat.people.says('2 people online');

    await ana.chat.composer.type('Are you there?');
    await expect(bea.chat.member('Ana')).toContainText('typing');
    await ana.page.press('Enter');
    await expect(bea.chat.message('Are you there?')).toBeVisible();
    await ana.chat.composer.holds('');
    await bea.chat.composer.pressSequentially('I am');
    await ana.chat.member('Bea').says('typing');
    await bea.chat.composer.press('Enter');
    await ana.chat.message('I am').isThere();
    await ana.chat.composer.type('one');
    await ana.page.press('Shift+Enter');
    await ana.chat.composer.type('two');
    await ana.chat.send.click();
    await expect(bea.chat.message('one\ntwo')).toBeVisible();
    await ana.chat.shows(['Are you there?', 'I am', 'one\ntwo']);
  });

  test.describe('when the server goes', () => {
    test.use({ expected: { words: [/WebSocket connection to .* failed/, /ERR_CONNECTION_REFUSED/] } });
    test('it is killed and comes back, and what was written meanwhile goes out once', async ({ person, visitor, server }) => {
      const ana = await visitor();
      const link = await ana.startChat({ nickname: 'Ana' });
      const bea = await person();
      await bea.open(link);
      await ana.chat.say('before');
      await expect(bea.chat.message('before')).toBeVisible();
      await server.kill();
      await ana.chat.connection.says('Reconnecting');
      await ana.chat.say('meanwhile');
      await ana.chat.message('meanwhile').says('Sending');
      await server.startAgain();
      await ana.chat.isConnected();
      await expect(bea.chat.message('meanwhile')).toBeVisible();
      await bea.chat.say('after');
      await ana.chat.shows(['before', 'meanwhile', 'after']);
      await ana.chat.log.says('after');
      await expect.poll(() => bea.chat.texts()).toEqual(['before', 'meanwhile', 'after']);
    });
  });

  test('what was begun is there after the way home, back, forward, and a reload', async ({ visitor }) => {
    const ana = await visitor();
    const link = await ana.startChat({ title: 'Tea at five' });
    await ana.chat.composer.type('half a thou');
    await ana.chat.goHome.click();
    await ana.home.isConnected();
    await ana.home.listings.with('Tea at five').isThere();
    await ana.page.goBack();
    expect(await ana.page.url()).toBe(link);
    await ana.chat.composer.holds('half a thou');
    await ana.page.goForward();
    await ana.home.isConnected();
    await ana.page.goBack();
    await ana.chat.isConnected();
    await ana.page.reload();
    await ana.chat.isConnected();
    await ana.chat.composer.holds('half a thou');
    await ana.chat.composer.type('ght');
    await ana.page.press('Enter');
    await ana.chat.shows(['half a thought']);
  });

  test('where no script loads, two people meet and talk by ordinary forms', async ({ person, visitor, server }) => {
    await using proxy = await withoutScripts(server.url);
    const ana = await visitor();
    await ana.page.goto(proxy.url);
    await ana.home.nickname.fill('Ana');
    await ana.home.title.fill('Plain & simple');
    await ana.home.start.click();
    await ana.chat.heading.says('Plain & simple');
    const bea = await person();
    await bea.open(new URL(new URL(await ana.page.url()).pathname, server.url).href);
    await bea.chat.say('hello from the other side');
    await expect(bea.chat.message('hello from the other side')).not.toContainText('Sending');
    await ana.chat.composer.type('by a form');
    await ana.chat.send.click();
    await expect(bea.chat.message('by a form')).toBeVisible();
    await ana.chat.shows(['hello from the other side', 'by a form']);
    await ana.page.reload();
    await ana.chat.shows(['hello from the other side', 'by a form']);
  });

  test('in the narrowest window everything has its place, as on a phone', async ({ visitor }) => {
    const ana = await visitor();
    await ana.page.resize(390, 780);
    await ana.startChat({ nickname: 'Ana' });
    await ana.chat.members.isThere(0);
    await ana.chat.openMembers.click();
    await ana.chat.members.isThere(1);
    await ana.page.press('Escape');
    await ana.chat.members.isThere(0);
    await ana.chat.say('from a phone');
    await ana.chat.shows(['from a phone']);
    expect(await ana.page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
  });
});

inEngines(['Chromium', 'Firefox', 'WebKit'], (test) => {
  test('two people go on in a direct chat, each in a new window', async ({ person, visitor }) => {
    const ana = await visitor();
    const link = await ana.startChat({ nickname: 'Ana' });
    const bea = await person();
    await bea.startChat({ nickname: 'Bea', private: true });
    await bea.open(link);
    const window = await ana.newWindow(() => ana.chat.privately('Bea').click());
    await window.chat.heading.says('Ana & Bea');
    const beas = await bea.newWindow(() => bea.chat.invites.accept('Ana').click());
    await window.chat.say('just the two of us');
    await expect(beas.chat.message('just the two of us')).toBeVisible();

    // An invite in the other direction.
    const cy = await person();
    await cy.startChat({ nickname: 'Cy', private: true });
    await cy.open(link);
    await cy.newWindow(() => cy.chat.privately('Ana').click());
    const anas = await ana.newWindow(() => ana.page.get('region', 'Private chat invites').get('button', 'Accept').click());
    await anas.chat.heading.says('Cy & Ana');
  });
});
