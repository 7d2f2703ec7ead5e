import { expect, test } from '../support/story.ts';

// Without TLS, browsers trust only local addresses such as 127.0.0.1. Elsewhere they ignore some headers.
test.use({ expected: { words: [/Cross-Origin-Opener-Policy header has been ignored/] } });

for (const javaScriptEnabled of [true, false]) {
  test(`without TLS, from another machine, forms are taken, ${javaScriptEnabled ? 'with' : 'without'} JavaScript`, async ({
    server,
    person,
  }) => {
    const url = new URL(server.url);
    url.hostname = 'elsewhere.test';
    const ana = await person({ javaScriptEnabled });
    await ana.page.goto(url.href);
    await ana.home.startChat({ nickname: 'Ana', title: 'Tea' });
    await expect(ana.chat.heading).toHaveText('Tea');
    const bea = await person();
    await bea.open(ana.page.url());
    await bea.chat.say('/nick Bea');
    await expect(bea.chat.member('Bea')).toBeVisible();
    await bea.chat.say('hello');
    await expect(bea.chat.message('hello')).not.toContainText('Sending');
    if (!javaScriptEnabled) await ana.page.reload();
    await expect(ana.chat.message('hello')).toBeVisible();
    const alone = await ana.newWindow(() => ana.chat.privately('Bea').click());
    await expect(alone.chat.heading).toHaveText('Ana & Bea');
    await bea.newWindow(() => bea.chat.invites.accept('Ana').click());
  });
}
