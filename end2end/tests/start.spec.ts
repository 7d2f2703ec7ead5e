import { expect, test } from '../support/story.ts';

test('a friendly nickname is there, and another one at a click', async ({ person }) => {
  const ana = await person();
  await ana.visit('/');
  const offered = await ana.home.nickname.inputValue();
  expect(offered).toMatch(/^[A-Z][a-z]+ [A-Z][a-z]+$/);
  await expect(async () => {
    await ana.home.anotherNickname.click();
    expect(await ana.home.nickname.inputValue()).not.toBe(offered);
  }).toPass();
  const chosen = await ana.home.nickname.inputValue();
  await ana.home.start.click();
  await expect(ana.chat.member(chosen)).toBeVisible();
  await expect(ana.chat.heading).toHaveText(`${chosen}’s chat`);
});

test('a nickname that is too long is told before anything is sent, and nothing is lost', async ({ person }) => {
  const ana = await person();
  await ana.startChat();
  await ana.visit('/');
  await ana.home.nickname.fill('W'.repeat(21));
  await ana.home.title.fill('Kept');
  await ana.home.start.click();
  await expect(ana.home.problem).toHaveText('The nickname is too long. It can have up to 20 characters.');
  await expect(ana.home.title).toHaveValue('Kept');
  await ana.home.nickname.fill('W'.repeat(20));
  await ana.home.start.click();
  await ana.chat.isOpen();
  await expect(ana.chat.member('W'.repeat(20))).toBeVisible();
});

test('what is typed before the page is hydrated stays', async ({ person }) => {
  const ana = await person();
  let arrive = () => {};
  const arrived = new Promise<void>((resolve) => (arrive = resolve));
  await ana.page.route('**/*.wasm*', async (route) => {
    await arrived;
    await route.continue();
  });
  await ana.page.goto(ana.server.url, { waitUntil: 'commit' });
  await ana.home.nickname.fill('Ana');
  await ana.home.title.fill('Typed early');
  await ana.home.private.check();
  arrive();
  // The page is hydrated once the button works.
  await expect(async () => {
    await ana.home.anotherNickname.click();
    expect(await ana.home.nickname.inputValue()).not.toBe('Ana');
  }).toPass();
  await expect(ana.home.title).toHaveValue('Typed early');
  await expect(ana.home.private).toBeChecked();
});

test('one click too many starts one chat', async ({ person }) => {
  const ana = await person();
  const posts: string[] = [];
  let go = () => {};
  const gone = new Promise<void>((resolve) => (go = resolve));
  await ana.page.route('**/api/start_chat', async (route) => {
    posts.push(route.request().url());
    await gone;
    await route.continue();
  });
  await ana.visit('/');
  // The page is hydrated once the button works.
  await expect(async () => {
    const before = await ana.home.nickname.inputValue();
    await ana.home.anotherNickname.click();
    expect(await ana.home.nickname.inputValue()).not.toBe(before);
  }).toPass();
  await ana.home.start.evaluate((button: HTMLElement) => {
    for (let click = 0; click < 4; click++) button.click();
  });
  go();
  await ana.chat.isOpen();
  expect(posts).toHaveLength(1);
});

test('a user who stops a start that takes long can start again', async ({ person }) => {
  const ana = await person();
  let asked = 0;
  await ana.page.route('**/api/start_chat', async (route) => {
    asked += 1;
    if (asked > 1) await route.continue();
  });
  await ana.visit('/');
  await ana.home.isConnected();
  await ana.home.title.fill('Tea');
  // Stops loading before the response arrives, as the stop button of the browser does.
  await ana.home.start.evaluate((start) => start.addEventListener('click', () => setTimeout(() => window.stop(), 300), { once: true }));
  await ana.home.start.click();
  await expect.poll(() => asked).toBe(1);
  await expect(async () => {
    await ana.home.start.click();
    await expect(ana.chat.heading).toHaveText('Tea', { timeout: 2_000 });
  }).toPass({ timeout: 10_000 });
});

test('going back finds the form as it was left', async ({ person }) => {
  const ana = await person();
  await ana.visit('/');
  await ana.home.isConnected();
  const offered = await ana.home.nickname.inputValue();
  await ana.home.startChat({ title: 'Left' });
  await expect(ana.chat.member(offered)).toBeVisible();
  await ana.page.goBack();
  await expect(ana.home.nickname).toHaveValue(offered);
});

test('a user keeps their nickname from chat to chat', async ({ person }) => {
  const ana = await person();
  await ana.startChat({ nickname: 'Ana' });
  await ana.visit('/');
  await expect(ana.home.nickname).toHaveValue('Ana');
});

test.describe('an address that leads nowhere', () => {
  test.use({ expected: { words: [/404/] } });
  test('is a friendly page with a way home', async ({ person }) => {
    const ana = await person();
    for (const path of ['/chat/0000000000000000', '/no/such/page']) {
      await ana.visit(path);
      await expect(ana.page.getByRole('heading', { level: 1 })).toHaveText(/^(No chat here|There is nothing here)$/);
      await ana.page.getByRole('link', { name: 'Go home' }).click();
      await expect(ana.home.start).toBeVisible();
    }
  });
});
