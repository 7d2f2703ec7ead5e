// Fixtures for stories in browser engines that Playwright does not drive: a visitor uses such a browser, and other users the
// Chromium that all stories have.

import { writeFile } from 'node:fs/promises';
import { EngineChat, EngineHome } from '../pages/engines.ts';
import { type Engine, EngineBrowser, type EnginePage, engines } from './engines.ts';
import type { Server } from './server.ts';
import { test as base } from './story.ts';

export { expect } from '@playwright/test';

/** A user with a browser of one of the engines. */
export class Visitor {
  readonly home: EngineHome;
  readonly chat: EngineChat;

  constructor(
    readonly page: EnginePage,
    readonly server: Server,
  ) {
    this.home = new EngineHome(page);
    this.chat = new EngineChat(page);
  }

  async visit(path: string): Promise<void> {
    await this.page.goto(new URL(path, this.server.url).href);
  }

  /** Opens a chat by its link. */
  async open(link: string): Promise<void> {
    await this.page.goto(link);
    await this.chat.isConnected();
  }

  /** Starts a chat from the home page. Returns its address. */
  async startChat(chat: { nickname?: string; title?: string } = {}): Promise<string> {
    await this.visit('/');
    await this.home.isConnected();
    if (chat.nickname !== undefined) await this.home.nickname.fill(chat.nickname);
    if (chat.title !== undefined) await this.home.title.fill(chat.title);
    await this.home.start.click();
    await this.chat.composer.isThere();
    await this.chat.isConnected();
    return this.page.url();
  }

  /** Does something that opens a window with a chat. Returns the same user in that window, once the chat is connected. */
  async newWindow(open: () => Promise<void>): Promise<Visitor> {
    const window = new Visitor(await this.page.newWindow(open), this.server);
    await window.chat.isConnected();
    return window;
  }
}

type EngineStory = {
  engine: Engine;
  /** Creates a user with a new browser profile. */
  visitor: () => Promise<Visitor>;
};

const test = base.extend<EngineStory>({
  engine: [engines[0]!, { option: true }],

  visitor: async ({ engine, server }, use, info) => {
    const browsers: EngineBrowser[] = [];
    await use(async () => {
      const browser = await EngineBrowser.launch(engine);
      browsers.push(browser);
      return new Visitor(await browser.page(), server);
    });
    if (info.status !== info.expectedStatus) {
      // screenshots at the time of the failure, unless the browser itself failed
      const pages = await Promise.all(browsers.map((browser) => browser.pages().catch(() => [])));
      for (const [place, page] of pages.flat().entries()) {
        const path = info.outputPath(`${engine.name}-${place + 1}.png`);
        const picture = await page.screenshot().catch(() => undefined);
        if (picture) await writeFile(path, picture).then(() => info.attach(engine.name, { path, contentType: 'image/png' }));
      }
    }
    for (const browser of browsers) await browser.close();
  },
});

/** Runs stories in each of these engines; skips those whose engine is not installed. */
export function inEngines(names: Engine['name'][], stories: (story: typeof test) => void): void {
  for (const engine of engines.filter(({ name }) => names.includes(name))) {
    test.describe(engine.name, () => {
      test.skip(!engine.isHere, `${engine.name} is not on this machine: see \`scripts/setup.sh browser\``);
      test.use({ engine });
      stories(test);
    });
  }
}
