import { expect, test } from '../support/story.ts';

test.use({ contextOptions: { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true } });

test('the members are a sheet that opens, closes and gives the focus back', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.startChat({ nickname: 'Bea', private: true });
  await bea.open(link);
  await expect(ana.chat.members.first()).toBeHidden();
  await expect(ana.chat.openMembers).toHaveAccessibleName('Two people here');
  await ana.chat.openMembers.tap();
  await expect(ana.chat.member('Bea')).toBeInViewport({ ratio: 1 });
  await expect(ana.chat.people).toHaveText('2 people online');
  await ana.page.keyboard.press('Escape');
  await expect(ana.chat.member('Bea')).toBeHidden();
  await expect(ana.chat.openMembers).toBeFocused();

  await ana.chat.openMembers.tap();
  await ana.chat.editNickname.tap();
  await ana.chat.nickname.fill('Anna');
  await ana.chat.save.tap();
  await expect(ana.chat.member('Anna')).toBeVisible();
  const window = await ana.newWindow(() => ana.chat.privately('Bea').tap());
  await expect(window.chat.heading).toHaveText('Anna & Bea');
  await expect(ana.chat.member('Bea')).toBeHidden();
  await expect(bea.chat.invites.from('Anna')).toBeInViewport({ ratio: 1 });
  await bea.newWindow(() => bea.chat.invites.accept('Anna').tap());
});

test('a tap beside the sheet closes it and does nothing else, and Escape closes what is innermost', async ({ person }) => {
  const ana = await person();
  await ana.startChat({ nickname: 'Ana', title: 'Tea' });
  const at = (await ana.chat.editTitle.boundingBox())!;
  await ana.chat.openMembers.tap();
  await expect(ana.chat.editNickname).toBeVisible();
  await ana.page.touchscreen.tap(at.x + at.width / 2, at.y + at.height / 2);
  await expect(ana.chat.editNickname).toBeHidden();
  await expect(ana.chat.title).toHaveCount(0);

  await ana.chat.openMembers.tap();
  await ana.chat.editNickname.tap();
  await ana.chat.nickname.press('Escape');
  await expect(ana.chat.nickname).toHaveCount(0);
  await expect(ana.chat.editNickname).toBeVisible();
});

test('the owner has room for the title, and to edit it', async ({ person }) => {
  const ana = await person({ viewport: { width: 360, height: 640 } });
  await ana.startChat({ nickname: 'Ana', title: 'A title of some length, as people give them' });
  expect((await ana.chat.heading.boundingBox())!.width).toBeGreaterThan(180);
  for (const control of [ana.chat.public, ana.chat.copyLink, ana.chat.openMembers]) await expect(control).toBeInViewport({ ratio: 1 });
  await ana.chat.editTitle.tap();
  expect((await ana.chat.title.boundingBox())!.width).toBeGreaterThan(150);
  await ana.chat.title.fill('x'.repeat(101));
  await ana.chat.save.tap();
  await expect(ana.chat.alert).toBeInViewport({ ratio: 1 });
  await ana.chat.cancel.tap();
  await expect(ana.chat.heading).toHaveText('A title of some length, as people give them');
  expect(await ana.page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
});

test('with a keyboard over half of the screen the newest message and the composer stay in view', async ({ person }) => {
  const ana = await person();
  await ana.startChat({ nickname: 'Ana' });
  await ana.chat.sayAll(Array.from({ length: 20 }, (_, index) => `message ${index + 1}`));
  await expect(ana.chat.message('message 20')).toBeInViewport({ ratio: 1 });
  // The size of the page above the keyboard, in browsers that resize it (`interactive-widget`).
  await ana.page.setViewportSize({ width: 390, height: 380 });
  await expect(ana.chat.composer).toBeInViewport({ ratio: 1 });
  await expect(ana.chat.message('message 20')).toBeInViewport({ ratio: 1 });
  await expect(ana.chat.heading).toBeInViewport({ ratio: 1 });
});

test('a link is shared by the sheet of the device, where it has one', async ({ person }) => {
  const ana = await person();
  await ana.page.addInitScript(() => {
    const shared: unknown[] = [];
    Object.assign(window, { shared });
    Object.assign(navigator, { share: async (data: unknown) => void shared.push(data) });
  });
  const link = await ana.startChat();
  await ana.chat.copyLink.tap();
  expect(await ana.page.evaluate(() => (window as unknown as { shared: unknown[] }).shared)).toEqual([{ url: link }]);
});
