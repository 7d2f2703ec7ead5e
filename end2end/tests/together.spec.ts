// Several failures at once.

import { expect, test } from '../support/story.ts';

test.describe('with a network that goes', () => {
  test.use({ expected: { words: [/WebSocket connection to .* failed/, /ERR_INTERNET_DISCONNECTED/] } });

  test('a page that is translated loses its line, and what is written meanwhile goes out once', async ({ person }) => {
    const ana = await person();
    const bea = await person();
    await bea.open(await ana.startChat({ nickname: 'Ana', title: 'Tea' }));
    await bea.page.evaluate(() => {
      const translate = () => {
        const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        const texts: Text[] = [];
        while (walker.nextNode()) texts.push(walker.currentNode as Text);
        for (const text of texts) {
          const isTaken = text.parentElement!.closest('font, script, style, textarea, [translate=no]');
          if (isTaken || !text.data.trim()) continue;
          const around = document.createElement('font');
          around.append(`«${text.data}»`);
          text.replaceWith(around);
        }
      };
      new MutationObserver(translate).observe(document.body, { subtree: true, childList: true, characterData: true });
      translate();
    });
    await bea.goOffline(true);
    await expect(bea.chat.connection).toContainText('Offline');
    await bea.chat.say('while nobody hears');
    await ana.chat.say('said meanwhile');
    await bea.goOffline(false);
    await expect(bea.chat.connection).toContainText('Connected');
    await expect(ana.chat.log.getByText('while nobody hears')).toHaveCount(1);
    await expect(bea.chat.log.getByText('said meanwhile')).toHaveCount(1);
  });

  test('a chat is printed while messages wait, which stay and go out once', async ({ person }) => {
    const ana = await person();
    const bea = await person();
    await bea.open(await ana.startChat({ nickname: 'Ana' }));
    await ana.chat.say('on the record');
    await expect(bea.chat.message('on the record')).toBeVisible();
    await bea.goOffline(true);
    await bea.chat.say('not yet said');
    await bea.chat.composer.fill('half a thought');
    await bea.page.emulateMedia({ media: 'print' });
    for (const text of ['on the record', 'not yet said']) await expect(bea.chat.message(text)).toBeVisible();
    await expect(bea.chat.composer).toBeHidden();
    await bea.page.pdf();
    await bea.page.emulateMedia({ media: 'screen' });
    await expect(bea.chat.composer).toHaveValue('half a thought');
    await bea.goOffline(false);
    await expect(ana.chat.message('not yet said')).toHaveCount(1);
  });
});

test('a phone that is turned during an invite still takes the answer', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person({ viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true });
  await bea.startChat({ nickname: 'Bea', private: true });
  await bea.open(link);
  await bea.chat.composer.fill('half a thought');
  const window = await ana.newWindow(() => ana.chat.privately('Bea').click());
  await expect(bea.chat.invites.accept('Ana')).toBeInViewport();
  await bea.page.setViewportSize({ width: 780, height: 390 });
  await expect(bea.chat.invites.accept('Ana')).toBeInViewport();
  await expect(bea.chat.composer).toBeInViewport();
  const theirs = await bea.newWindow(() => bea.chat.invites.accept('Ana').tap());
  expect(theirs.page.url()).toBe(window.page.url());
  await expect(bea.chat.composer).toHaveValue('half a thought');
});
