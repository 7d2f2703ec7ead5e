// Lists do not move under the pointer, their items keep their identity, and the focus is never lost.

import { type Newcomer, type Person, expect, test } from '../support/story.ts';

/** Creates a user with a nickname who is in a chat. */
async function joins(person: Newcomer, link: string, nickname: string): Promise<Person> {
  const one = await person();
  await one.open(link);
  await one.chat.say(`/nick ${nickname}`);
  await expect(one.chat.member(nickname)).toBeVisible();
  return one;
}

const names = (one: Person) => one.chat.members.locator('.name').allInnerTexts();

test('a member who is about to be clicked stays in place, and arrivals and departures show afterwards', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const dora = await joins(person, link, 'Dora');
  await joins(person, link, 'Eve');
  await expect.poll(() => names(ana)).toEqual(['Ana', 'Dora', 'Eve']);
  await ana.chat.member('Eve').hover();
  const place = await ana.chat.member('Eve').boundingBox();
  await joins(person, link, 'Bea');
  await dora.leave();
  await expect(ana.chat.newPeople).toHaveText('1 new');
  expect(await ana.chat.member('Eve').boundingBox()).toEqual(place);
  await expect(ana.chat.log.getByText('is now called Bea')).toBeVisible();
  expect(await names(ana)).toEqual(['Ana', 'Dora', 'Eve']);
  await ana.chat.composer.hover();
  await expect.poll(() => names(ana)).toEqual(['Ana', 'Bea', 'Eve']);

  // The same holds for the keyboard focus.
  await ana.chat.members.getByRole('button', { name: 'About Eve' }).focus();
  await joins(person, link, 'Cy');
  await expect(ana.chat.newPeople).toHaveText('1 new');
  expect(await names(ana)).toEqual(['Ana', 'Bea', 'Eve']);
  await ana.chat.newPeople.click();
  await expect.poll(() => names(ana)).toEqual(['Ana', 'Bea', 'Cy', 'Eve']);
});

test('a renamed member stays in their row, and the focus in it', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await joins(person, link, 'Bea');
  await ana.chat.members.getByRole('button', { name: 'About Bea' }).focus();
  await bea.chat.say('/nick Zoe');
  const about = ana.chat.members.getByRole('button', { name: 'About Zoe' });
  await expect(about).toBeFocused();
  await expect(ana.chat.privately('Zoe')).toBeAttached();
  await about.press('Enter');
  await expect(ana.chat.about).toContainText('Zoe');
});

for (const [where, options] of [['a desk', {}], ['a phone', { viewport: { width: 390, height: 780 } }]] as const) {
  test(`a double click that opens a dialog removes no member, at ${where}`, async ({ person }) => {
    const ana = await person(options);
    const link = await ana.startChat({ nickname: 'Ana' });
    const bea = await person();
    await bea.open(link);
    await bea.chat.say('still here');
    await expect(ana.chat.message('still here')).toBeVisible();
    if (await ana.chat.openMembers.isVisible()) await ana.chat.openMembers.click();
    const summary = ana.page.getByText('Unwelcome visitors');
    // Hovering waits until the sheet of a phone has stopped moving.
    await summary.hover();
    const place = await summary.boundingBox();
    await summary.click();
    const remove = ana.page.getByRole('button', { name: /^Remove all who came/ });
    await expect(remove).toBeInViewport({ ratio: 1 });
    expect(await summary.boundingBox()).toEqual(place);
    await summary.dblclick();
    await expect(remove).toBeVisible();
    await bea.chat.say('and now');
    await expect(ana.chat.message('and now')).toBeAttached();
    await remove.click();
    await expect(bea.page.getByText('The owner has removed you')).toBeVisible();
  });
}

test('a double click asks once', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  await joins(person, link, 'Bea');
  const window = await ana.newWindow(() => ana.chat.privately('Bea').dblclick());
  await expect(window.chat.heading).toHaveText('Ana & Bea');
  expect(ana.page.context().pages()).toHaveLength(2);
});

test('a message that its author removes leaves the buttons of its dialog where they are', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await joins(person, link, 'Bea');
  await bea.chat.say('a long thought '.repeat(12));
  await ana.chat.aboutMessage('a long thought '.repeat(12).trim());
  const places = () => Promise.all(['Hide Bea', 'Remove Bea from this chat'].map((name) => ana.chat.act(name).boundingBox()));
  const before = await places();
  await bea.chat.aboutMessage('a long thought '.repeat(12).trim());
  await bea.chat.act('Remove message').click();
  await expect(ana.chat.act('Message removed')).toBeDisabled();
  await expect(ana.chat.about).not.toContainText('a long thought');
  expect(await places()).toEqual(before);
  await ana.page.keyboard.press('Escape');
  // A removed message has no actions, so the focus goes to the list of messages.
  await expect(ana.chat.log).toBeFocused();
});

test('a user who is renamed elsewhere while a message waits sees the name that others will see', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const other = await ana.newTab(link);
  let letGo = () => {};
  await ana.page.routeWebSocket(/\/live$/, (line) => {
    const server = line.connectToServer();
    const held: string[] = [];
    line.onMessage((frame) => (frame.includes('"post"') ? held.push(frame.toString()) : server.send(frame)));
    letGo = () => held.splice(0).forEach((frame) => server.send(frame));
  });
  await ana.open(link);
  await ana.chat.say('who says this?');
  const message = ana.chat.message('who says this?');
  await expect(message).toContainText('Ana');
  const element = await message.elementHandle();
  await other.chat.say('/nick Zoe');
  await expect(message).toContainText('Zoe');
  letGo();
  await expect(message.getByText('Sending')).toHaveCount(0);
  await expect(message).toContainText('Zoe');
  expect(await message.evaluate((now, before) => now === before, element)).toBe(true);
});
