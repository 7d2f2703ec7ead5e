import { expect, test } from '../support/story.ts';

test('the newest message stays in view, and a reader who scrolled up is not moved', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat();
  await ana.chat.sayAll(Array.from({ length: 40 }, (_, index) => `line ${index + 1}`));
  await expect(ana.chat.message('line 40')).toBeInViewport();

  const bea = await person();
  await bea.open(link);
  await expect(bea.chat.message('line 40')).toBeInViewport();
  await ana.chat.say('line 41');
  await expect(bea.chat.message('line 41')).toBeInViewport();

  await bea.chat.message('line 15').scrollIntoViewIfNeeded();
  const place = async () => Math.round((await bea.chat.message('line 15').boundingBox())!.y);
  const before = await place();
  for (let number = 42; number <= 50; number++) await ana.chat.say(`line ${number}`);
  await expect(bea.chat.message('line 50')).toBeAttached();
  expect(await place()).toBe(before);
  await expect(bea.chat.message('line 50')).not.toBeInViewport();

  const newest = bea.page.getByRole('button', { name: 'New messages' });
  await newest.click();
  await expect(bea.chat.message('line 50')).toBeInViewport();
  await expect(newest).toBeHidden();
  await expect(bea.chat.log).toBeFocused();

  await bea.chat.message('line 15').scrollIntoViewIfNeeded();
  await expect(bea.page.getByRole('button', { name: 'Newest messages' })).toBeVisible();
  await bea.chat.say('whoever says something sees it said');
  await expect(bea.chat.message('whoever says something sees it said')).toBeInViewport();
});
