// The fixtures of every story: a server, and users, each with a browser context of their own. A warning or an error in the
// console of any of them fails the story.

import { type Browser, type BrowserContextOptions, type Page, expect, test as base } from '@playwright/test';
import { ChatPage } from '../pages/chat.ts';
import { HomePage } from '../pages/home.ts';
import { Server, type Settings } from './server.ts';

export { expect } from '@playwright/test';

/** Where Qchat is: a server, or something in front of it. */
export type Place = { readonly url: string };

/** A user with a browser. */
export class Person {
  readonly home: HomePage;
  readonly chat: ChatPage;

  constructor(
    readonly page: Page,
    readonly server: Place,
  ) {
    this.home = new HomePage(page);
    this.chat = new ChatPage(page);
  }

  /** Returns the same user at another place. */
  at(place: Place): Person {
    return new Person(this.page, place);
  }

  async visit(path: string): Promise<void> {
    await this.page.goto(new URL(path, this.server.url).href);
  }

  /** Starts a chat from the home page. Returns its address. */
  async startChat(chat: { nickname?: string; title?: string; private?: boolean } = {}): Promise<string> {
    await this.visit('/');
    await this.home.startChat(chat);
    await this.chat.isOpen();
    return this.page.url();
  }

  /** Opens a chat by its link. */
  async open(link: string): Promise<void> {
    await this.page.goto(link);
    await this.chat.isOpen();
  }

  /** Opens a chat by its link, but here. */
  async openHere(link: string): Promise<void> {
    await this.open(new URL(new URL(link).pathname, this.server.url).href);
  }

  /** Does something that opens a window with a chat. Returns the same user in that window, once the chat is open. */
  async newWindow(open: () => Promise<void>): Promise<Person> {
    const [page] = await Promise.all([this.page.context().waitForEvent('page'), open()]);
    const window = new Person(page, this.server);
    await window.chat.isOpen();
    return window;
  }

  /** Opens a chat in another tab. Returns the same user in that tab. */
  async newTab(link: string): Promise<Person> {
    const tab = new Person(await this.page.context().newPage(), this.server);
    await tab.open(link);
    return tab;
  }

  async goOffline(offline: boolean): Promise<void> {
    await this.page.context().setOffline(offline);
  }

  /** Puts the page in the background, or back in the foreground. The change is simulated, since headless browsers have neither. */
  async lookAway(away: boolean): Promise<void> {
    await this.page.evaluate((state) => {
      Object.defineProperty(document, 'visibilityState', { configurable: true, get: () => state });
      document.dispatchEvent(new Event('visibilitychange'));
    }, away ? 'hidden' : 'visible');
  }

  async leave(): Promise<void> {
    await this.page.context().close();
  }
}

export type Newcomer = (options?: BrowserContextOptions) => Promise<Person>;

type Story = {
  server: Server;
  /** Creates a user with a new browser context. */
  person: Newcomer;
  /** Console messages that are allowed in this story, such as failed requests while the server is killed on purpose. */
  expected: { words: RegExp[] };
  /** The settings of the server. */
  settings: Settings;
};

export const test = base.extend<Story>({
  expected: [{ words: [] }, { option: true }],
  settings: [{}, { option: true }],

  server: async ({ settings }, use) => {
    const server = await Server.start(settings);
    await use(server);
    await server.dispose();
  },

  person: async ({ browser, server, expected, contextOptions }, use) => {
    const words: string[] = [];
    const people: Person[] = [];
    await use(async (options) => {
      const person = new Person(await newPage(browser, { ...contextOptions, ...options }, words), server);
      people.push(person);
      return person;
    });
    for (const person of people) await person.leave();
    expect(words.filter((word) => !expected.words.some((pattern) => pattern.test(word)))).toEqual([]);
  },
});

async function newPage(browser: Browser, options: BrowserContextOptions, words: string[]): Promise<Page> {
  const context = await browser.newContext(options);
  context.on('console', (message) => {
    if (['warning', 'error'].includes(message.type())) words.push(message.text());
  });
  context.on('weberror', (error) => words.push(error.error().message));
  return context.newPage();
}
