// The screenshots of the README. `make pictures` updates them; in all other runs they are discarded.

import { expect, test } from '../support/story.ts';

const folder = process.env.QCHAT_PICTURES;

test('the pictures of the README', async ({ person }, info) => {
  const picture = (name: string) => (folder ? `${folder}/${name}` : info.outputPath(name));
  const look = { viewport: { width: 960, height: 640 }, colorScheme: 'light', reducedMotion: 'reduce' } as const;
  const ana = await person(look);
  const link = await ana.startChat({ nickname: 'Ana', title: 'Tea at five' });
  const [bea, cy] = [await person(look), await person(look)];
  await bea.startChat({ nickname: 'Bea', private: true });
  await cy.startChat({ nickname: 'Cyrus', private: true });
  await bea.open(link);
  await cy.open(link);
  await ana.chat.say('Hello, both of you. Is anybody bringing the biscuits?');
  await bea.chat.say('I am. Two kinds, since nobody answered when I asked which.');
  await bea.chat.say('One of them with ginger 🫚');
  await cy.chat.say('Ginger, please. I will be ten minutes late, do not wait with the tea.');
  await ana.chat.say('We would not dream of it.');
  await expect(ana.chat.messages).toHaveCount(7);
  await expect(ana.chat.log.getByText('Sending')).toHaveCount(0);
  await expect(ana.chat.members).toHaveCount(3);
  await ana.chat.composer.fill('The kettle is on');
  await ana.page.screenshot({ path: picture('chat.png') });

  const [dan, eve, fay] = [await person(look), await person(look), await person(look)];
  await dan.startChat({ nickname: 'Dan', title: 'Which book next?' });
  await eve.startChat({ nickname: 'Eve', title: 'Sunday walk, rain or shine' });
  await fay.startChat({ nickname: 'Fay', title: 'A table for three that nobody sits at yet' });
  await fay.open(eve.page.url());
  await dan.chat.say('The one with the lighthouse.');
  await eve.chat.say('Boots on, ten o’clock at the bridge.');
  const gus = await person(look);
  await gus.visit('/');
  await expect(gus.home.listings).toHaveCount(4);
  await expect(gus.home.listing('Sunday walk, rain or shine')).toContainText('Two people here');
  await expect(gus.home.listing('A table for three that nobody sits at yet')).toContainText('Nobody here');
  await gus.page.screenshot({ path: picture('home.png') });
});
