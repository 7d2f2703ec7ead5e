import { expect, test } from '../support/story.ts';

test('messages that came while the page was hidden begin below a line, and the tab counts them', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana', title: 'Tea' });
  const bea = await person();
  await bea.open(link);
  await bea.chat.say('seen');
  await expect(ana.chat.message('seen')).toBeVisible();
  await expect(ana.page).toHaveTitle('Tea · Qchat');

  await ana.lookAway(true);
  await bea.chat.say('missed one');
  await bea.chat.say('missed two');
  await expect(ana.page).toHaveTitle('(2) Tea · Qchat');
  await ana.lookAway(false);
  await expect(ana.page).toHaveTitle('Tea · Qchat');
  const order = await ana.chat.log.getByRole('listitem').allInnerTexts();
  const line = order.indexOf('New');
  expect(order[line - 1]).toContain('seen');
  expect(order[line + 1]).toContain('missed one');
  await expect(ana.chat.firstNew).toHaveCount(0);
  await ana.chat.say('an answer');
  await expect(ana.chat.log.getByText('New', { exact: true })).toHaveCount(0);

  await bea.chat.say('while one looks there is no line');
  await expect(ana.chat.message('while one looks there is no line')).toBeVisible();
  await expect(ana.chat.log.getByText('New', { exact: true })).toHaveCount(0);
});

test('where more is new than fits into the view, a button leads to where it begins', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  await ana.lookAway(true);
  await bea.chat.sayAll(Array.from({ length: 30 }, (_, index) => `missed ${index + 1}`));
  await expect(ana.page).toHaveTitle(/^\(30\)/);
  await ana.lookAway(false);
  await expect(ana.chat.message('missed 30')).toBeInViewport();
  await expect(ana.chat.message('missed 1')).not.toBeInViewport();
  await ana.chat.firstNew.click();
  await expect(ana.chat.message('missed 1')).toBeInViewport({ ratio: 1 });
  await expect(ana.chat.log.getByText('New', { exact: true })).toBeInViewport();
  await expect(ana.chat.firstNew).toHaveCount(0);
});

test('no line marks the reader’s own messages as new', async ({ person }) => {
  const ana = await person();
  await ana.startChat({ nickname: 'Ana' });
  await ana.chat.sayAll(Array.from({ length: 60 }, (_, index) => `line ${index + 1}`));
  await expect(ana.chat.message('line 60')).toBeInViewport();
  await ana.chat.message('line 5').scrollIntoViewIfNeeded();
  await expect(ana.page.getByRole('button', { name: 'Newest messages' })).toBeVisible();
  await ana.chat.say('an own one');
  await expect(ana.chat.message('an own one')).toBeInViewport();
  await expect(ana.chat.log.getByText('Sending')).toHaveCount(0);
  await expect(ana.chat.log.getByText('New', { exact: true })).toHaveCount(0);
});
