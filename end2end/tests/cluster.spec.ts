// Several nodes, one chat: what people live on one node, they live on several.

import { inEngines } from '../support/engine_story.ts';
import { type Cluster, type Seen, areAlike, expect, fixtures, test, watch } from '../support/cluster_story.ts';
import type { Newcomer, Person } from '../support/story.ts';

/** What browsers log while a node is away. */
const away = [/WebSocket connection to .* failed/, /ERR_CONNECTION_REFUSED/, /ERR_CONNECTION_RESET/, /status of (400|503)/];

/** Two people in a chat of the first, each on a node of their own. */
async function twoPeople(person: Newcomer, { nodes }: Cluster): Promise<{ ana: Person; bea: Person; link: string }> {
  const bea = (await person()).at(nodes[1]!);
  await bea.visit('/');
  await bea.home.isConnected();
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana', title: 'Tea at five' });
  await bea.home.nickname.fill('Bea');
  await bea.home.listing('Tea at five').getByRole('link').click();
  await bea.chat.isOpen();
  await bea.chat.say('/nick Bea');
  await expect(ana.chat.member('Bea')).toBeVisible();
  return { ana, bea, link };
}

/** Expects that all pages show these messages, in this order, and that none waits. */
async function allShow(people: Person[], texts: string[]): Promise<void> {
  for (const one of people) {
    await expect.poll(() => one.chat.texts(), { timeout: 15_000 }).toEqual(texts);
    await expect(one.chat.log.getByText(/Sending|Not sent/)).toHaveCount(0);
  }
}

/** Returns the longest time that a page showed this state, in milliseconds. */
const longest = ({ states }: Seen, wanted: string): number =>
  Math.max(0, ...states.filter(({ state }) => state === wanted).map(({ millis }) => millis));

test('two people on two nodes chat, and see each other come, type, rename and leave', async ({ person, cluster }) => {
  const { ana, bea } = await twoPeople(person, cluster);
  expect(new URL(bea.page.url()).origin).not.toBe(new URL(ana.page.url()).origin);
  for (const one of [ana, bea]) {
    await expect(one.chat.members).toHaveCount(2);
    await expect(one.chat.member('Ana')).toContainText('owner');
  }
  await ana.chat.composer.pressSequentially('Are you there?');
  await expect(bea.chat.member('Ana')).toContainText('typing');
  await ana.chat.composer.press('Enter');
  await expect(bea.chat.message('Are you there?')).toContainText('Ana');
  // At once, not after the pause of three seconds.
  await expect(bea.chat.member('Ana')).not.toContainText('typing', { timeout: 1_000 });
  await bea.chat.composer.pressSequentially('I am');
  await expect(ana.chat.member('Bea')).toContainText('typing');
  await bea.chat.composer.press('Enter');
  await allShow([ana, bea], ['Are you there?', 'I am']);

  await bea.chat.editNickname.click();
  await bea.chat.nickname.fill('Beatrice');
  await bea.chat.save.click();
  await expect(ana.chat.member('Beatrice')).toBeVisible();
  await expect(ana.chat.log.getByText('Bea is now called Beatrice')).toBeVisible();
  await ana.chat.editTitle.click();
  await ana.chat.title.fill('Tea at six');
  await ana.chat.save.click();
  await expect(bea.chat.heading).toHaveText('Tea at six');
  await bea.chat.say('fine with me');
  await bea.chat.aboutMessage('fine with me');
  await bea.chat.act('Remove message').click();
  await expect(ana.chat.log.getByText('Message removed', { exact: true })).toBeVisible();

  await ana.leave();
  await expect(bea.chat.members).toHaveCount(1, { timeout: 10_000 });
});

test('the lobby and its counts are the same on all nodes', async ({ person, cluster }) => {
  const homes = [await person(), (await person()).at(cluster.nodes[1]!)];
  for (const one of homes) {
    await one.visit('/');
    await one.home.isConnected();
  }
  const { ana, bea, link } = await twoPeople(person, cluster);
  const secret = (await person()).at(cluster.nodes[1]!);
  await secret.startChat({ title: 'Secret', private: true });
  for (const { home } of homes) {
    await expect(home.people).toHaveText('5 people online');
    await expect(home.chats).toHaveText('2 open chats');
    await expect.poll(() => home.titles()).toEqual(['Tea at five']);
    await expect(home.listing('Tea at five')).toContainText('Two people here');
  }
  for (const one of [ana, bea]) {
    await expect(one.chat.people).toHaveText('5 people online');
    await expect(one.chat.chats).toHaveText('2 open chats');
  }
  // A user on two nodes is one.
  const tab = (await ana.newTab(link)).at(cluster.nodes[1]!);
  await tab.openHere(link);
  await expect(tab.chat.member('Ana')).toContainText('you');
  await expect(tab.chat.members).toHaveCount(2);
  await bea.leave();
  for (const { home } of homes) {
    await expect(home.people).toHaveText('4 people online', { timeout: 10_000 });
    await expect(home.listing('Tea at five')).toContainText('One person here');
  }
  await ana.chat.public.click();
  for (const { home } of homes) await expect(home.listings).toHaveCount(0);
});

test('an invite goes to another node, and its answer comes back: they go on in private', async ({ person, cluster }) => {
  const { ana, bea } = await twoPeople(person, cluster);
  const anas = await ana.newWindow(() => ana.chat.privately('Bea').click());
  await bea.chat.invites.decline('Ana').click();
  await expect(anas.chat.log.getByText('Bea declined the invite')).toBeVisible();

  const beas = await bea.newWindow(() => bea.chat.privately('Ana').click());
  await expect(beas.chat.heading).toHaveText(/Ana & Bea|Bea & Ana/);
  expect(new URL(beas.page.url()).pathname).toBe(new URL(anas.page.url()).pathname);
  await expect(beas.chat.members).toHaveCount(2);
  await beas.chat.say('just the two of us');
  await anas.chat.say('at last');
  await allShow([anas, beas], ['just the two of us', 'at last']);

  // Members who come are not shown while the mouse is on the list.
  await ana.chat.composer.hover();
  const cy = (await person()).at(cluster.nodes[1]!);
  await cy.openHere(ana.page.url());
  await cy.chat.say('/nick Cy');
  await expect(ana.chat.member('Cy')).toBeVisible();
  const cys = await cy.newWindow(() => cy.chat.privately('Ana').click());
  await ana.page.bringToFront();
  const window = await ana.newWindow(() => ana.chat.invites.accept('Cy').click());
  await expect(cys.chat.log.getByText('Ana accepted the invite')).toBeVisible();
  await cys.chat.say('a word in private');
  await allShow([window, cys], ['a word in private']);
});

test.describe('moderated', () => {
  test.use({ expected: { words: [/403/] } });

  test('the owner on one node locks the chat, and removes a member, on another', async ({ person, cluster }) => {
    const { ana, bea, link } = await twoPeople(person, cluster);
    await bea.chat.composer.fill('half a thought');
    await ana.chat.locked.click();
    await expect(bea.chat.lock).toHaveText('Locked: only the owner can write.');
    await expect(bea.chat.composer).not.toBeEditable();
    await ana.chat.say('listen');
    await expect(bea.chat.message('listen')).toBeVisible();
    await ana.chat.locked.click();
    await expect(bea.chat.composer).toBeEditable();
    await bea.chat.composer.press('Enter');
    await allShow([ana, bea], ['listen', 'half a thought']);

    await ana.chat.aboutMember('Bea');
    await ana.chat.act('Remove Bea from this chat').click();
    await expect(bea.chat.alert).toContainText('The owner has removed you from this chat.');
    await expect(ana.chat.members).toHaveCount(1);
    for (const node of cluster.nodes) {
      const there = bea.at(node);
      await there.page.goto(new URL(new URL(link).pathname, node.url).href);
      await expect(there.page.getByText('The owner has removed you from this chat.')).toBeVisible();
    }
    await ana.chat.log.getByRole('button', { name: 'About Bea' }).click();
    await ana.chat.act('Let Bea return').click();
    await expect(ana.chat.log.getByText('You readmitted Bea')).toBeVisible();
    await areAlike(cluster);
    await bea.openHere(link);
    await bea.chat.say('here again');
    await expect(ana.chat.message('here again')).toBeVisible();
  });
});

test.describe('with short lifetimes', () => {
  test.use({
    settings: { QCHAT_CHAT_LIFETIME: '3s', QCHAT_MESSAGE_LIFETIME: '5s', QCHAT_SWEEP_INTERVAL: '1s' },
    expected: { words: [/404/] },
  });

  test('messages and chats expire on all nodes', async ({ person, cluster }) => {
    const cy = (await person()).at(cluster.nodes[1]!);
    await cy.startChat({ title: 'Left' });
    const left = cy.page.url();
    await cy.visit('/');
    const { ana, bea } = await twoPeople(person, cluster);
    await ana.chat.say('gone in a moment');
    for (const one of [ana, bea]) await expect(one.chat.message('gone in a moment')).toBeVisible();
    const dan = await person();
    await dan.visit('/');
    for (const { home } of [cy, dan]) {
      await expect(home.listing('Left')).toHaveCount(0, { timeout: 15_000 });
      await expect(home.listing('Tea at five')).toBeVisible();
    }
    for (const node of cluster.nodes) {
      await dan.page.goto(new URL(new URL(left).pathname, node.url).href);
      await expect(dan.page.getByRole('alert')).toContainText('It may have ended');
    }
    for (const one of [ana, bea]) await expect(one.chat.message('gone in a moment')).toHaveCount(0, { timeout: 25_000 });
    await bea.chat.say('here we are');
    await expect(ana.chat.message('here we are')).toBeVisible();
  });
});

test('a session holds on each node', async ({ person, cluster }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana', title: 'Tea' });
  await ana.chat.say('from the first');
  const there = ana.at(cluster.nodes[1]!);
  await there.openHere(link);
  await expect(there.chat.member('Ana')).toContainText('you');
  await expect(there.chat.editTitle).toBeVisible();
  await there.chat.aboutMessage('from the first');
  await there.chat.act('Remove message').click();
  await expect(there.chat.log.getByText('Message removed', { exact: true })).toBeVisible();
  await there.visit('/');
  await expect(there.home.nickname).toHaveValue('Ana');
  await ana.openHere(link);
  await expect(ana.chat.members).toHaveCount(1);
  await expect(ana.chat.editTitle).toBeVisible();
});

test.describe('when a node goes', () => {
  test.use({ expected: { words: away } });

  test('its people go on at another: nothing is lost or doubled, and nobody seems to have left', async ({ person, cluster }) => {
    const { nodes, balancer } = cluster;
    const ana = (await person()).at(balancer);
    const link = await ana.startChat({ nickname: 'Ana', title: 'Tea at five' });
    const hers = nodes.find((node) => node === balancer.newest)!;
    const bea = (await person()).at(nodes.find((node) => node !== hers)!);
    await areAlike(cluster);
    await bea.openHere(link);
    await expect(ana.chat.members).toHaveCount(2);
    const said = ['before'];
    await ana.chat.say('before');
    await expect(bea.chat.message('before')).toBeVisible();
    const [seen, seenByBea] = [await watch(ana), await watch(bea)];

    // What she writes now has reached her node, and is not answered.
    hers.freeze();
    await ana.chat.say('on its way');
    await expect(ana.chat.message('on its way')).toContainText('Sending');
    await hers.kill();
    await ana.chat.say('meanwhile');
    await bea.chat.say('I am still here');
    said.push('on its way', 'meanwhile', 'I am still here');
    await ana.chat.isConnected();
    for (const one of [ana, bea]) {
      await expect.poll(async () => (await one.chat.texts()).sort()).toEqual([...said].sort());
      await expect(one.chat.log.getByText(/Sending|Not sent/)).toHaveCount(0);
    }
    const order = await ana.chat.texts();
    await allShow([bea], order);
    expect(order.indexOf('on its way')).toBeLessThan(order.indexOf('meanwhile'));
    await bea.chat.composer.pressSequentially('and you');
    await expect(ana.chat.member('Bea').or(ana.chat.members.nth(1))).toContainText('typing');
    await bea.chat.composer.press('Enter');
    await allShow([ana, bea], [...order, 'and you']);

    // The node comes back, and a newcomer there finds everything.
    await hers.startAgain();
    await hers.isReady();
    await areAlike(cluster);
    const cy = (await person()).at(hers);
    await cy.openHere(link);
    await allShow([cy], [...order, 'and you']);
    await expect(cy.chat.members).toHaveCount(3);
    await expect(ana.chat.members).toHaveCount(3);
    const [shown, shownToBea] = [await seen(), await seenByBea()];
    expect(longest(shown, 'Reconnecting')).toBeLessThan(3_000);
    expect(shown.states.map(({ state }) => state)).not.toContain('Offline');
    expect(shownToBea.states.map(({ state }) => state)).toEqual(['Connected']);
    expect(shownToBea.fewest, 'nobody seems to have left').toBe(2);
  });

  test('and its people know no other, they are back as soon as it has started', async ({ person, cluster }) => {
    const { nats, nodes } = cluster;
    const { ana, bea } = await twoPeople(person, cluster);
    const seen = await watch(ana);
    await nodes[0]!.kill();
    await expect(ana.chat.connection).toHaveText('Reconnecting');
    await ana.chat.say('meanwhile');
    // It answers before it has started, which takes as long as there is no NATS.
    await nats.kill();
    await nodes[0]!.startAgain();
    const refused = () => ana.page.waitForResponse((answer) => answer.url().endsWith('/live') && answer.status() === 503);
    await refused();
    await refused();
    await nats.startAgain();
    await ana.chat.isConnected();
    await allShow([ana, bea], ['meanwhile']);
    for (const one of [ana, bea]) await expect(one.chat.members).toHaveCount(2);
    expect((await seen()).states.map(({ state }) => state), 'it never looks for news only every few seconds').toEqual([
      'Connected',
      'Reconnecting',
      'Connected',
    ]);
  });

  test.describe('of three', () => {
    test.use({ size: 3 });

    test('and each is replaced in turn, two people talk on', async ({ person, cluster }) => {
      const { nodes, balancer } = cluster;
      const [ana, bea] = [(await person()).at(balancer), (await person()).at(balancer)];
      const link = await ana.startChat({ nickname: 'Ana', title: 'Tea at five' });
      await areAlike(cluster);
      await bea.open(link);
      await expect(ana.chat.members).toHaveCount(2);
      const seen = [await watch(ana), await watch(bea)];
      const said: string[] = [];
      for (const [number, node] of nodes.entries()) {
        await node.stop();
        for (const one of [ana, bea]) {
          await one.chat.say(`${said.length} while ${number} is away`);
          said.push(`${said.length} while ${number} is away`);
          await allShow([ana, bea], said);
        }
        await node.startAgain();
        await node.isReady();
      }
      for (const shown of await Promise.all(seen.map((read) => read()))) {
        expect(longest(shown, 'Reconnecting')).toBeLessThan(3_000);
        expect(shown.states.map(({ state }) => state)).not.toContain('Offline');
        expect(shown.fewest, 'nobody seems to have left').toBe(2);
      }
    });
  });
});

test.describe('behind a balancer without sticky sessions', () => {
  test.use({ size: 3, settings: { QCHAT_CHAT_RATE: 'off', QCHAT_PAGE_RATE: 'off' } });

  test('a chat that was just started is there, on whichever node its page is loaded', async ({ person, cluster }) => {
    const { nodes, balancer } = cluster;
    const ana = (await person()).at(balancer);
    await ana.startChat({ title: 'Tea' });
    const bea = (await person({ javaScriptEnabled: false })).at(balancer);
    await bea.startChat({ title: 'Coffee' });
    await expect(bea.chat.heading).toHaveText('Coffee');

    const { request } = ana.page.context();
    const headers = { accept: 'text/html', origin: balancer.url };
    for (let time = 0; time < 40; time += 1) {
      const page = await request.post(`${balancer.url}/api/start_chat`, { headers, form: { nickname: '', title: `Chat ${time}` } });
      expect(page.status()).toBe(200);
      expect(await page.text()).toContain(`Chat ${time}`);
    }
    // The same when the other node is behind.
    const [one, another] = [nodes[0]!, nodes[1]!];
    for (let time = 0; time < 10; time += 1) {
      another.freeze();
      const form = { nickname: '', title: `Late ${time}` };
      const started = await request.post(`${one.url}/api/start_chat`, { headers: { ...headers, origin: one.url }, form, maxRedirects: 0 });
      expect(started.status()).toBe(303);
      const page = request.get(new URL(started.headers().location!, another.url).href);
      another.thaw();
      expect((await page).status()).toBe(200);
      expect(await (await page).text()).toContain(`Late ${time}`);
    }
  });
});

test('while NATS is away people read on, and what they write waits and goes out when it is back', async ({ person, cluster }) => {
  const { nats, nodes } = cluster;
  const { ana, bea, link } = await twoPeople(person, cluster);
  await ana.chat.say('before');
  await expect(bea.chat.message('before')).toBeVisible();
  const seen = [await watch(ana), await watch(bea)];
  await nats.kill();
  await ana.chat.say('is it only me?');
  await bea.chat.say('it is not');
  await expect(ana.chat.message('is it only me?')).toContainText('Sending');
  await expect(bea.chat.message('it is not')).toContainText('Sending');
  for (const node of nodes) await expect.poll(async () => (await fetch(`${node.url}/readyz`)).status).toBe(503);
  const cy = (await person()).at(nodes[1]!);
  await cy.openHere(link);
  await allShow([cy], ['before']);
  await ana.page.reload();
  await ana.chat.isOpen();
  await expect(ana.chat.message('is it only me?')).toContainText('Sending');

  await nats.startAgain();
  const both = ['is it only me?', 'it is not'];
  await expect.poll(async () => (await ana.chat.texts()).slice(1).sort()).toEqual(both);
  await allShow([ana, bea, cy], await ana.chat.texts());
  for (const one of [ana, bea, cy]) await expect(one.chat.members).toHaveCount(3);
  const shown = await seen[1]!();
  expect(shown.states.map(({ state }) => state), 'nobody lost the connection').toEqual(['Connected']);
  for (const node of nodes) await node.isReady();
});

inEngines(['Firefox', 'WebKit'], (engine) => {
  const test = engine.extend(fixtures);
  test.use({ expected: { words: away } });

  test('two people on two nodes talk, one of them is killed, and they go on', async ({ person, visitor, cluster }) => {
    const { nodes, balancer } = cluster;
    const ana = await visitor();
    await ana.page.goto(balancer.url);
    await ana.home.isConnected();
    await ana.home.nickname.fill('Ana');
    await ana.home.title.fill('Tea at five');
    await ana.home.start.click();
    await ana.chat.composer.isThere();
    await ana.chat.isConnected();
    const hers = nodes.find((node) => node === balancer.newest)!;
    const bea = (await person()).at(nodes.find((node) => node !== hers)!);
    await areAlike(cluster);
    await bea.openHere(await ana.page.url());
    await bea.chat.say('/nick Bea');
    await ana.chat.member('Bea').isThere();
    await ana.chat.composer.type('Are you there?');
    await expect(bea.chat.member('Ana')).toContainText('typing');
    await ana.page.press('Enter');
    await expect(bea.chat.message('Are you there?')).toBeVisible();
    await hers.kill();
    await ana.chat.say('meanwhile');
    await expect(bea.chat.message('meanwhile')).toBeVisible();
    await bea.chat.say('after');
    await ana.chat.shows(['Are you there?', 'meanwhile', 'after']);
    await expect.poll(() => bea.chat.texts()).toEqual(['Are you there?', 'meanwhile', 'after']);
    await ana.chat.member('Bea').isThere();
  });
});
