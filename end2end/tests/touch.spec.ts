// Touch screens: there is no hover, and the click comes some time after the touch starts.

import { expect, test } from '../support/story.ts';

test.use({ contextOptions: { viewport: { width: 390, height: 780 }, hasTouch: true, isMobile: true } });

test('the chat under the finger is the one that opens, even if others come while it is down', async ({ person }) => {
  const [ana, bea] = [await person(), await person()];
  for (const title of ['Tea', 'Coffee']) await ana.startChat({ title });
  let isHeld = false;
  let letCome = () => {};
  const held: string[] = [];
  await bea.page.routeWebSocket(/\/live$/, (line) => {
    line.connectToServer().onMessage((frame) => (isHeld ? held.push(frame.toString()) : line.send(frame)));
    letCome = () => {
      isHeld = false;
      for (const frame of held.splice(0)) line.send(frame);
    };
  });
  await bea.visit('/');
  await bea.home.isConnected();
  await expect(bea.home.listings).toHaveCount(2);
  isHeld = true;
  await ana.startChat({ title: 'Water' });
  await expect.poll(() => held.some((frame) => frame.includes('Water'))).toBe(true);

  await bea.home.listing('Tea').scrollIntoViewIfNeeded();
  const { x, y, width, height } = (await bea.home.listing('Tea').getByRole('link').boundingBox())!;
  const finger = await bea.page.context().newCDPSession(bea.page);
  const touchPoints = [{ x: x + width / 2, y: y + height / 2 }];
  await finger.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints });
  letCome();
  // A short wait, so that the touch does not become a long press.
  await bea.page.waitForFunction(() => document.body.innerText.includes('3 open chats'));
  await finger.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] });
  await expect(bea.chat.heading).toHaveText('Tea');
});
