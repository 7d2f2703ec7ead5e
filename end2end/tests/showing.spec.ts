// Pictures in messages: attached, sent, shown, looked at and removed.

import { AxeBuilder } from '@axe-core/playwright';
import { noPicture, png } from '../support/png.ts';
import { expect, test } from '../support/story.ts';

test('pictures are chosen, described and sent, and others see them without anything moving', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  const chooser = ana.page.waitForEvent('filechooser');
  await ana.chat.attach.click();
  await (await chooser).setFiles([png('one.png', 900, 600), png('two.png', 300, 600, [20, 90, 200])]);
  await expect(ana.chat.toSend).toHaveCount(2);
  await expect(ana.chat.toSend.nth(0)).toContainText('one.png');
  await expect(ana.chat.toSend.getByText('Ready')).toHaveCount(2);
  await ana.chat.toSend.nth(0).getByRole('textbox', { name: 'Description' }).fill('A brick wall');
  await ana.chat.say('Look');
  await expect(ana.chat.toSend).toHaveCount(0);

  for (const { chat } of [ana, bea]) {
    await expect(chat.pictureNamed('A brick wall')).toBeVisible();
    await expect(chat.pictureNamed('Picture from Ana')).toBeVisible();
  }
  await expect(bea.chat.pictureNamed('A brick wall')).toHaveJSProperty('complete', true);
  await bea.page.reload();
  await bea.chat.isConnected();
  await expect(bea.chat.pictureNamed('A brick wall')).toHaveAttribute('width', '480');
  await expect(bea.chat.pictureNamed('A brick wall')).toHaveAttribute('height', '320');
});

test('a picture keeps its place before it is loaded', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  await ana.chat.files.setInputFiles(png('one.png', 900, 600));
  await expect(ana.chat.toSend.getByText('Ready')).toBeVisible();
  await ana.chat.say('Look');
  await ana.chat.say('the line below');
  await expect(ana.chat.log.getByText('Sending')).toHaveCount(0);
  const bea = await person();
  let release = () => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  await bea.page.route('**/small', async (route) => {
    await held;
    await route.continue();
  });
  await bea.page.goto(link, { waitUntil: 'domcontentloaded' });
  await expect(bea.chat.message('the line below')).toBeVisible();
  const before = await bea.chat.message('the line below').boundingBox();
  release();
  await expect.poll(() => bea.chat.pictureNamed('Picture from Ana').evaluate((image: HTMLImageElement) => image.naturalWidth)).toBeGreaterThan(0);
  expect(await bea.chat.message('the line below').boundingBox()).toEqual(before);
});

test('pictures are pasted and dropped, sent without a word, and other files are not taken', async ({ person }) => {
  const ana = await person();
  await ana.startChat({ nickname: 'Ana' });
  await ana.chat.give('paste', [png('pasted.png', 40, 40)]);
  await ana.chat.give('drop', [png('dropped.png', 40, 40)]);
  await expect(ana.chat.toSend.getByText('Ready')).toHaveCount(2);
  await ana.chat.give('drop', [{ name: 'letter.txt', mimeType: 'text/plain', buffer: Buffer.from('Dear Bea') }]);
  await expect(ana.chat.alert).toHaveText(/^Qchat takes text and pictures\./);
  await expect(ana.chat.toSend).toHaveCount(2);
  await ana.chat.send.click();
  await expect(ana.chat.pictureNamed('Picture from Ana')).toHaveCount(2);
  await expect(ana.chat.composer).toHaveValue('');
});

test.describe('while an upload is slow or fails', () => {
  test.use({ expected: { words: [/status of (422|500)/, /ERR_FAILED|net::ERR/] } });

  test('a message waits for its pictures, which can be cancelled and retried', async ({ person }) => {
    const ana = await person();
    await ana.startChat({ nickname: 'Ana' });
    let isDown = true;
    await ana.page.route('**/api/picture?*', (route) => (isDown ? route.abort() : route.continue()));
    await ana.chat.files.setInputFiles([png('one.png', 40, 40), png('two.png', 40, 40)]);
    const retry = ana.chat.toSend.getByRole('button', { name: 'Retry' });
    await expect(retry).toHaveCount(2);
    await ana.chat.say('with one of them');
    await expect(ana.page.getByRole('status', { name: 'Attachments' })).toHaveText('This is sent when the pictures are there.');
    await expect(ana.chat.composer).toHaveValue('with one of them');
    isDown = false;
    await ana.chat.toSend.nth(1).getByRole('button', { name: 'Cancel' }).click();
    await expect(ana.chat.toSend).toHaveCount(1);
    await retry.click();
    await expect(ana.chat.message('with one of them')).toBeVisible();
    await expect(ana.chat.pictureNamed('Picture from Ana')).toHaveCount(1);
  });

  test('what is no picture is told at its place, and nothing written is lost', async ({ person }) => {
    const ana = await person();
    await ana.startChat({ nickname: 'Ana' });
    await ana.chat.composer.fill('half a thought');
    await ana.chat.files.setInputFiles(noPicture);
    await expect(ana.chat.toSend).toContainText('That is no picture that Qchat knows.');
    await ana.chat.toSend.getByRole('button', { name: 'Cancel' }).click();
    await expect(ana.chat.toSend).toHaveCount(0);
    await expect(ana.chat.composer).toHaveValue('half a thought');
    await expect(ana.chat.composer).toBeFocused();
  });
});

test('a picture is shown large, with keys, and goes with its message', async ({ person }) => {
  const ana = await person();
  const link = await ana.startChat({ nickname: 'Ana' });
  const bea = await person();
  await bea.open(link);
  await ana.chat.files.setInputFiles([png('one.png', 900, 600), png('two.png', 300, 600)]);
  await expect(ana.chat.toSend.getByText('Ready')).toHaveCount(2);
  for (const [place, words] of ['First', 'Second'].entries()) {
    await ana.chat.toSend.nth(place).getByRole('textbox', { name: 'Description' }).fill(words);
  }
  await ana.chat.say('Look');

  await bea.chat.pictureNamed('First').click();
  await expect(bea.chat.picture).toBeVisible();
  const shown = bea.chat.picture.getByRole('img');
  await expect(shown).toHaveAccessibleName('First');
  await expect.poll(() => shown.evaluate((image: HTMLImageElement) => image.naturalWidth)).toBe(900);
  await bea.page.keyboard.press('ArrowRight');
  await expect(shown).toHaveAccessibleName('Second');
  await bea.page.keyboard.press('ArrowRight');
  await expect(shown).toHaveAccessibleName('Second');
  await bea.page.keyboard.press('ArrowLeft');
  await expect(shown).toHaveAccessibleName('First');
  await bea.page.keyboard.press('+');
  await expect(bea.chat.picture.getByRole('button', { name: 'Fit to the window' })).toBeVisible();
  const { violations } = await new AxeBuilder({ page: bea.page }).analyze();
  expect(violations).toEqual([]);
  await bea.page.keyboard.press('Escape');
  await expect(bea.chat.picture).toBeHidden();

  await bea.chat.pictureNamed('Second').click();
  await expect(bea.chat.picture).toBeVisible();
  await ana.chat.aboutMessage('Look');
  await ana.chat.act('Remove message').click();
  await expect(bea.chat.picture).toBeHidden();
  await expect(bea.chat.log.getByRole('img')).toHaveCount(0);
});

test.describe('on a phone', () => {
  test.use({ contextOptions: { viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true } });

  test('pictures are attached and shown within the screen', async ({ person }) => {
    const ana = await person();
    await ana.startChat({ nickname: 'Ana' });
    await ana.chat.files.setInputFiles(png('one.png', 1_200, 300));
    await expect(ana.chat.toSend.getByText('Ready')).toBeVisible();
    await ana.chat.send.tap();
    const box = (await ana.chat.pictureNamed('Picture from Ana').boundingBox())!;
    expect(box.x + box.width).toBeLessThanOrEqual(360);
    await ana.chat.pictureNamed('Picture from Ana').tap();
    await expect(ana.chat.picture.getByRole('img')).toBeInViewport();
    await ana.chat.picture.getByRole('button', { name: 'Close' }).tap();
    await expect(ana.chat.picture).toBeHidden();
  });
});

test.describe('without JavaScript', () => {
  test.use({ contextOptions: { javaScriptEnabled: false }, expected: { words: [/status of 422/] } });

  test('pictures go with the form, and lead to the picture alone', async ({ person }) => {
    const ana = await person();
    await ana.startChat({ nickname: 'Ana' });
    await ana.chat.files.setInputFiles([png('one.png', 900, 600), png('two.png', 40, 40)]);
    await ana.chat.composer.fill('Look');
    await ana.chat.send.click();
    await expect(ana.chat.pictureNamed('Picture from Ana')).toHaveCount(2);
    const address = await ana.chat.log.getByRole('link').filter({ has: ana.page.getByRole('img') }).first().getAttribute('href');
    const shown = await ana.page.request.get(new URL(address!, ana.page.url()).href);
    expect([shown.status(), shown.headers()['content-type']]).toEqual([200, 'image/png']);

    await ana.chat.files.setInputFiles(noPicture);
    await ana.chat.composer.fill('Not lost');
    await ana.chat.send.click();
    await expect(ana.page.getByText('That is no picture that Qchat knows.')).toBeVisible();
    await expect(ana.page.getByRole('textbox', { name: 'Message' })).toHaveValue('Not lost');
    await ana.page.getByLabel('Choose the pictures again').setInputFiles(png('three.png', 40, 40));
    await ana.page.getByRole('button', { name: 'Send' }).click();
    await expect(ana.chat.message('Not lost')).toBeVisible();
    await expect(ana.chat.pictureNamed('Picture from Ana')).toHaveCount(3);
  });
});

test.describe('switched off', () => {
  test.use({ settings: { QCHAT_PICTURES: 'off' } });

  test('there is nothing to attach pictures with', async ({ person }) => {
    const ana = await person();
    await ana.startChat({ nickname: 'Ana' });
    await expect(ana.chat.attach).toHaveCount(0);
    await expect(ana.chat.files).toHaveCount(0);
    await ana.chat.say('words alone');
    await expect(ana.chat.message('words alone')).toBeVisible();
  });
});
