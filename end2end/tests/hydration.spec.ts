// Pages are rendered by the server and hydrated in many short tasks. Here these tasks are paused, to test partly hydrated pages.

import type { Page } from '@playwright/test';
import { slowLine } from '../support/slow_line.ts';
import { type Newcomer, type Person, expect, test } from '../support/story.ts';

type PausableWindow = Window & { pausedTasks?: (() => void)[]; resumeTasks?: () => void };

/** From the next load on, pauses tasks that a page schedules without a delay, and makes each piece of hydration seem slow. */
async function pauseTasks(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const pausable = window as PausableWindow;
    const pausedTasks: (() => void)[] = (pausable.pausedTasks = []);
    const { setTimeout } = window;
    const pausingSetTimeout = (task: () => void, millis?: number) => (millis === 0 ? pausedTasks.push(task) : setTimeout(task, millis));
    window.setTimeout = pausingSetTimeout as typeof window.setTimeout;
    pausable.resumeTasks = () => {
      window.setTimeout = setTimeout;
      for (const task of pausedTasks.splice(0)) setTimeout(task);
    };
    let now = 0;
    performance.now = () => (now += 100);
  });
}

/** Runs the next task of the page. */
async function runNextTask(page: Page): Promise<void> {
  await expect.poll(() => page.evaluate(() => (window as PausableWindow).pausedTasks?.length)).toBe(1);
  await page.evaluate(() => (window as PausableWindow).pausedTasks!.shift()!());
}

/** Runs all tasks of the page, and pauses no more. */
const resumeTasks = (page: Page) => page.evaluate(() => (window as PausableWindow).resumeTasks!());

/** Runs the first two tasks of the page: reading its data, and hydrating its outline. */
async function hydrateOutline(page: Page): Promise<void> {
  for (const _ of ['read', 'outline']) await runNextTask(page);
}

/** Returns the layout shifts of a page: their scores (Layout Instability, section 2.3), and what moved from where to where. */
const layoutShifts = (page: Page): Promise<string[]> =>
  page.evaluate(
    () =>
      new Promise((resolve) => {
        new PerformanceObserver((list) => {
          type Shift = PerformanceEntry & { value: number; sources: { node?: Element; previousRect: DOMRect; currentRect: DOMRect }[] };
          const shifts = list.getEntries() as Shift[];
          const extent = ({ y, height }: DOMRect) => `${Math.round(y)}+${Math.round(height)}`;
          resolve(
            shifts.map(({ value, sources }) => {
              const moved = sources.map(({ node, previousRect, currentRect }) =>
                `${node?.nodeName} ${node?.className} ${extent(previousRect)} ${extent(currentRect)}`,
              );
              return [value.toFixed(4), ...moved].join(', ');
            }),
          );
        }).observe({ type: 'layout-shift', buffered: true });
        // An observer without entries is never called.
        requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve, 0, [])));
      }),
  );

/** Ana has posted a message, and Bea has a page with it that is not hydrated yet. */
async function chatWithMessage(person: Newcomer): Promise<{ ana: Person; bea: Person; link: string }> {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  await ana.chat.say('Are you there?');
  const bea = await person();
  await pauseTasks(bea.page);
  await bea.page.goto(link);
  return { ana, bea, link };
}

test('a page is hydrated in many tasks, and is whole then', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana', title: 'Tea at five' });
  for (let number = 1; number <= 5; number++) await ana.chat.say(`Said as number ${number}`);
  const bea = await person();
  await pauseTasks(bea.page);
  await bea.page.goto(link);
  await hydrateOutline(bea.page);
  // The invites, the header, the conversation, the members, the timeline, the composer, two members, and four of seven lines.
  for (let piece = 1; piece <= 12; piece++) await runNextTask(bea.page);
  // Once hydrated, these are buttons.
  await expect(bea.chat.log.getByRole('link', { name: 'More', exact: true })).toHaveCount(5);
  await resumeTasks(bea.page);
  await bea.chat.isConnected();

  await bea.chat.say('Said as number 6');
  await expect(ana.chat.message('Said as number 6')).toBeVisible();
  await ana.chat.aboutMessage('Said as number 3');
  await ana.chat.act('Remove message').click();
  await expect(bea.chat.message('Message removed')).toBeVisible();
  expect(await bea.chat.texts()).toEqual([1, 2, 4, 5, 6].map((number) => `Said as number ${number}`));
  await bea.chat.aboutMessage('Said as number 4');
  await expect(bea.chat.about).toContainText('Said as number 4');
});

test('a message written before hydration is posted at once', async ({ person }) => {
  const { ana, bea } = await chatWithMessage(person);
  await bea.chat.composer.fill('I am');
  await hydrateOutline(bea.page);
  await bea.chat.composer.press('Enter');
  await expect(ana.chat.message('I am')).toBeVisible();
  await expect(bea.chat.message('I am')).toBeVisible();
  await expect(bea.chat.composer).toHaveValue('');
});

test('what is pressed before hydration does what it does later', async ({ person }) => {
  const { bea, link } = await chatWithMessage(person);
  await hydrateOutline(bea.page);
  const row = bea.chat.row('Are you there?');
  await row.openMore();
  await resumeTasks(bea.page);
  await expect(row.item('About Ana')).toBeVisible();
  expect(bea.page.url()).toBe(link);
});

test('what is typed into the filter before hydration counts', async ({ person }) => {
  const ana = await person();
  await ana.startChat({ nickname: 'Ana', title: 'Tea at five' });
  await ana.startChat({ title: 'Coffee' });
  const bea = await person();
  await pauseTasks(bea.page);
  await bea.visit('/');
  await hydrateOutline(bea.page);
  await expect(bea.home.listings).toHaveCount(2);
  await bea.home.filter.fill('tea');
  await expect(bea.home.listings).toHaveCount(1);
  await expect(bea.home.listing('Tea at five')).toBeVisible();
});

test('nothing moves in a chat whose page arrives bit by bit', async ({ person, server }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  for (let number = 1; number <= 5; number++) await ana.chat.say(`Said as number ${number}`);
  await expect(ana.chat.log.getByText('Sending')).toHaveCount(0);
  const bea = await person();
  const line = await slowLine(server.url, 'Chat privately with Ana');
  try {
    await bea.page.goto(new URL(new URL(link).pathname, line.url).href, { waitUntil: 'commit' });
    await expect(bea.chat.composer).toBeAttached();
    await expect(bea.chat.members.getByText('Ana')).toBeAttached();
    // Long enough for a paint of a partly loaded page. A paint that must not happen cannot be awaited.
    await bea.page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 500)));
    const painted = await bea.page.evaluate(() => [document.readyState, performance.getEntriesByType('paint').length]);
    expect(painted, 'half of it has come, and nothing is painted').toEqual(['loading', 0]);
    line.deliverRest();
    await bea.chat.isConnected();
    expect(await layoutShifts(bea.page)).toEqual([]);
    await bea.chat.say('All of it');
    await expect(ana.chat.message('All of it')).toBeVisible();
  } finally {
    await bea.leave();
    line.cut();
  }
});
