import { expect, test } from '../support/story.ts';

test.use({ contextOptions: { javaScriptEnabled: false } });

test('a chat can be started, read and posted in by ordinary forms', async ({ person }) => {
  const ana = await person();
  await ana.visit('/');
  await expect(ana.home.anotherNickname).toBeHidden();
  await ana.home.startChat({ nickname: 'Ana', title: 'Plain & simple', private: true });
  await expect(ana.chat.heading).toHaveText('Plain & simple');
  await expect(ana.chat.public).not.toBeChecked();
  await expect(ana.chat.copyLink).toBeHidden();
  await ana.chat.composer.fill('one\ntwo');
  await ana.chat.send.click();
  await expect(ana.chat.message('one\ntwo')).toBeInViewport();
  expect(await ana.chat.texts()).toEqual(['one\ntwo']);

  const bea = await person({ javaScriptEnabled: true });
  await bea.open(ana.page.url());
  await bea.chat.say('hello from the other side');
  await expect(bea.chat.message('one\ntwo')).toBeVisible();
  await expect(bea.chat.message('hello from the other side')).not.toContainText('Sending');
  await ana.page.getByRole('link', { name: 'Load again' }).click();
  await expect(ana.chat.message('hello from the other side')).toBeInViewport();
  await expect(ana.chat.members).toHaveCount(2);
  await ana.chat.composer.fill('and back');
  await ana.chat.send.click();
  await expect(bea.chat.message('and back')).toBeVisible();
});

test('the owner renames, retitles and lists the chat by ordinary forms', async ({ person }) => {
  const ana = await person();
  await ana.visit('/');
  await ana.home.startChat({ nickname: 'Ana', title: 'Tea', private: true });
  const bea = await person({ javaScriptEnabled: true });
  await bea.open(ana.page.url());
  await ana.chat.editTitle.click();
  await expect(ana.chat.title).toHaveValue('Tea');
  await ana.chat.title.fill('Coffee & <cake>');
  await ana.chat.save.click();
  await expect(ana.chat.heading).toHaveText('Coffee & <cake>');
  await expect(bea.chat.heading).toHaveText('Coffee & <cake>');
  await expect(ana.chat.public).not.toBeChecked();
  await ana.chat.public.click();
  await expect(ana.chat.public).toBeChecked();
  await expect(bea.page.getByText('Public', { exact: true })).toBeVisible();
  await ana.chat.editNickname.click();
  await ana.chat.nickname.fill('Anna');
  await ana.chat.save.click();
  await expect(ana.chat.member('Anna')).toBeVisible();
  await ana.visit('/');
  await expect(ana.home.listing('Coffee & <cake>')).toBeVisible();
  await expect(ana.home.people).toHaveText('2 people online');
});

test('a private chat is asked for, accepted and declined by ordinary forms', async ({ person }) => {
  const ana = await person({ javaScriptEnabled: true });
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.visit('/');
  await bea.home.startChat({ nickname: 'Bea', private: true });
  await bea.page.goto(link);
  const window = await bea.newWindow(() => bea.chat.privately('Ana').click());
  await expect(window.chat.heading).toHaveText('Bea & Ana');
  await window.chat.composer.fill('psst');
  await window.chat.send.click();
  const anasWindow = await ana.newWindow(() => ana.chat.invites.accept('Bea').click());
  await expect(anasWindow.chat.message('psst')).toBeVisible();

  const cy = await person({ javaScriptEnabled: true });
  await cy.startChat({ nickname: 'Cy' });
  // An invited user needs an open page. Without JavaScript it shows the members at the time of loading.
  const bees = await person();
  await bees.page.goto(cy.page.url());
  const third = await bees.newWindow(() => bees.chat.privately('Cy').click());
  await expect(cy.chat.invites.region.getByRole('listitem')).toHaveCount(1);
  await cy.chat.invites.region.getByRole('button', { name: 'Decline' }).click();
  await expect(cy.chat.invites.region).toHaveCount(0);
  await third.page.reload();
  await expect(third.chat.log.getByText('Cy declined the invite')).toBeVisible();
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

    await ana.chat.editTitle.click();
    await ana.chat.title.fill('x'.repeat(101));
    await ana.chat.save.click();
    await expect(ana.page.getByRole('alert')).toContainText('The title is too long.');
    await expect(ana.chat.title).toHaveValue('x'.repeat(101));
    await ana.chat.title.fill('Short');
    await ana.chat.save.click();
    await expect(ana.chat.heading).toHaveText('Short');

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

test('messages and people are dealt with by links and ordinary forms', async ({ person }) => {
  const ana = await person();
  await ana.visit('/');
  await ana.home.startChat({ nickname: 'Ana', title: 'Tea', private: true });
  const bea = await person({ javaScriptEnabled: true });
  await bea.open(ana.page.url());
  await bea.chat.say('/nick Bea');
  await bea.chat.say('rude');
  await expect(bea.chat.message('rude')).not.toContainText('Sending');
  await ana.page.reload();
  await ana.chat.aboutMessage('rude');
  await expect(ana.chat.about).toBeInViewport({ ratio: 1 });
  await ana.chat.act('Remove message').click();
  await expect(ana.chat.log.getByText('Message removed by the owner')).toBeVisible();
  await expect(bea.chat.message('rude')).toHaveCount(0);
  await ana.chat.locked.click();
  await expect(ana.chat.locked).toBeChecked();
  await expect(bea.chat.composer).not.toBeEditable();
  await ana.chat.aboutMember('Bea');
  await ana.chat.act('Remove Bea from this chat').click();
  await expect(bea.chat.alert).toContainText('The owner has removed you');
  await ana.chat.log.getByRole('link', { name: 'About Bea' }).click();
  await ana.chat.act('Close').click();
  await expect(ana.chat.about).toHaveCount(0);
});
