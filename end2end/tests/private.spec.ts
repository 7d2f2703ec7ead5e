import { type Newcomer, type Person, expect, test } from '../support/story.ts';

async function twoPeople(person: Newcomer): Promise<{ ana: Person; bea: Person; link: string }> {
  const [ana, bea] = [await person(), await person()];
  await bea.startChat({ nickname: 'Bea', private: true });
  const link = await ana.startChat({ nickname: 'Ana', title: 'Tea' });
  await bea.open(link);
  await expect(ana.chat.member('Bea')).toBeVisible();
  return { ana, bea, link };
}

test('clicking a member asks for a private chat in a new window, and Accept opens it for the other', async ({ person }) => {
  const { ana, bea } = await twoPeople(person);
  await expect(ana.chat.privately('Ana')).toHaveCount(0);
  const anasWindow = await ana.newWindow(() => ana.chat.privately('Bea').click());
  await expect(anasWindow.chat.heading).toHaveText('Ana & Bea');
  await expect(anasWindow.page.getByText('Private', { exact: true })).toBeVisible();
  await expect(anasWindow.chat.public).toHaveCount(0);
  await expect(anasWindow.chat.copyLink).toHaveCount(0);
  await expect(ana.chat.heading).toHaveText('Tea');

  await expect(bea.chat.invites.from('Ana')).toBeVisible();
  await bea.page.reload();
  await expect(bea.chat.invites.from('Ana')).toBeVisible();
  const beasWindow = await bea.newWindow(() => bea.chat.invites.accept('Ana').click());
  await expect(bea.chat.invites.region).toHaveCount(0);
  expect(beasWindow.page.url()).toBe(anasWindow.page.url());
  await expect(anasWindow.chat.log.getByText('Bea accepted the invite')).toBeVisible();
  await anasWindow.chat.say('just the two of us');
  await expect(beasWindow.chat.message('just the two of us')).toBeVisible();
  await expect(beasWindow.chat.members).toHaveCount(2);

  // Another invite, in either direction, opens the same chat.
  const again = await bea.newWindow(() => bea.chat.privately('Ana').click());
  expect(again.page.url()).toBe(anasWindow.page.url());
  await expect(ana.chat.invites.region).toHaveCount(0);
});

test('an invite reaches the invited user on any page, and a refusal reaches its author', async ({ person }) => {
  const { ana, bea, link } = await twoPeople(person);
  const home = await bea.page.context().newPage();
  await home.goto(bea.server.url);
  const other = await bea.newTab(link);
  const window = await ana.newWindow(() => ana.chat.privately('Bea').click());
  const region = home.getByRole('region', { name: 'Private chat invites' });
  await expect(region).toContainText('Ana wants to chat with you privately.');
  await expect(bea.chat.invites.from('Ana')).toBeVisible();
  await other.chat.invites.decline('Ana').click();
  for (const each of [bea.chat.invites.region, other.chat.invites.region, region]) await expect(each).toHaveCount(0);
  await expect(window.chat.log.getByText('Bea declined the invite')).toBeVisible();
  await expect(bea.chat.heading).toHaveText('Tea');

  // After a refusal, another attempt opens the chat and sends no invite.
  const again = await ana.newWindow(() => ana.chat.privately('Bea').click());
  expect(again.page.url()).toBe(window.page.url());
  await ana.chat.say('Bea, are you there?');
  await expect(bea.chat.message('Bea, are you there?')).toBeVisible();
  await expect(bea.chat.invites.region).toHaveCount(0);
});

test('a user who declines on the home page goes on from there by keyboard', async ({ person }) => {
  const { ana, bea } = await twoPeople(person);
  await bea.visit('/');
  await bea.home.isConnected();
  await ana.newWindow(() => ana.chat.privately('Bea').click());
  await bea.home.invites.decline('Ana').press('Enter');
  await expect(bea.home.invites.region).toHaveCount(0);
  await expect(bea.page.getByRole('heading', { name: 'Start a chat' })).toBeFocused();
});

test('an invite goes when its author has left', async ({ person }) => {
  const { ana, bea } = await twoPeople(person);
  await ana.newWindow(() => ana.chat.privately('Bea').click());
  await expect(bea.chat.invites.from('Ana')).toBeVisible();
  await ana.leave();
  await expect(bea.chat.invites.region).toHaveCount(0, { timeout: 10_000 });
});

test('the keyboard is enough to ask and to answer', async ({ person }) => {
  const { ana, bea } = await twoPeople(person);
  await ana.chat.privately('Bea').focus();
  const window = await ana.newWindow(() => ana.page.keyboard.press('Enter'));
  await bea.chat.invites.decline('Ana').focus();
  await bea.page.keyboard.press('Space');
  await expect(window.chat.log.getByText('Bea declined the invite')).toBeVisible();
});

test.describe('others', () => {
  test.use({ expected: { words: [/403/] } });
  test('a third person who has the link is told that it is not for them', async ({ person }) => {
    const { ana } = await twoPeople(person);
    const window = await ana.newWindow(() => ana.chat.privately('Bea').click());
    const eve = await person();
    await eve.page.goto(window.page.url());
    await expect(eve.page.getByRole('heading', { level: 1 })).toHaveText('A private chat');
    await expect(eve.page.getByRole('alert')).toContainText('only they can enter');
    await eve.page.getByRole('link', { name: 'Go home' }).click();
    await expect(eve.home.listings).toHaveCount(1);
  });
});

test.describe('when the server goes', () => {
  test.use({ expected: { words: [/WebSocket connection to .* failed/, /ERR_CONNECTION_REFUSED/] } });
  test('an invite survives its restart, and nothing is asked for meanwhile', async ({ person, server }) => {
    const { ana, bea } = await twoPeople(person);
    await ana.newWindow(() => ana.chat.privately('Bea').click());
    await expect(bea.chat.invites.from('Ana')).toBeVisible();
    await server.kill();
    await expect(bea.chat.connection).toHaveText('Reconnecting');
    await bea.chat.invites.accept('Ana').click();
    await expect(bea.chat.alert).toContainText('There is no connection just now');
    await expect(ana.chat.connection).toHaveText('Reconnecting');
    await ana.chat.privately('Bea').click();
    await expect(ana.chat.alert).toContainText('There is no connection just now');
    await server.startAgain();
    await bea.chat.isConnected();
    await expect(bea.chat.invites.from('Ana')).toBeVisible();
    await bea.newWindow(() => bea.chat.invites.accept('Ana').click());
  });
});

test.describe('refused', () => {
  test.use({ expected: { words: [/403/] } });

  test('a user who takes no private invites is not asked, until they say otherwise', async ({ person }) => {
    const { ana, bea } = await twoPeople(person);
    await bea.chat.composer.fill('half a thought');
    await bea.chat.invites.takeNone.click();
    await expect(bea.chat.invites.takeAgain).toBeVisible();
    await expect(bea.chat.composer).toHaveValue('half a thought');
    const [window] = await Promise.all([ana.page.context().waitForEvent('page'), ana.chat.privately('Bea').click()]);
    await expect(window.getByText('They take no private invites just now.')).toBeVisible();
    await bea.chat.invites.takeAgain.click();
    await expect(bea.chat.invites.takeNone).toBeVisible();
    await ana.newWindow(() => ana.chat.privately('Bea').click());
    await expect(bea.chat.invites.from('Ana')).toBeVisible();
  });
});
