import type { Locator, Page } from '@playwright/test';

/** The search in a chat: a dialog on its page, and a page of its own without JavaScript. */
export class Search {
  readonly button: Locator;
  readonly dialog: Locator;
  readonly field: Locator;
  readonly mentions: Locator;
  readonly found: Locator;
  readonly hits: Locator;
  readonly count: Locator;
  readonly further: Locator;
  readonly close: Locator;
  readonly back: Locator;

  constructor(page: Page) {
    // Without JavaScript it is a link on the page of the chat, and a button on that of the search.
    this.button = page.getByRole('button', { name: 'Search' }).or(page.getByRole('link', { name: 'Search', exact: true }));
    this.dialog = page.getByRole('dialog', { name: 'Search' });
    this.field = page.getByRole('searchbox', { name: 'Search this chat' });
    this.mentions = page.getByRole('link', { name: 'My mentions' });
    this.found = page.getByRole('list', { name: 'Found' });
    this.hits = this.found.getByRole('listitem');
    this.count = page.locator('.found-count');
    this.further = page.getByRole('button', { name: 'Look further back' });
    this.close = this.dialog.getByRole('button', { name: 'Close' });
    this.back = page.getByRole('link', { name: 'Back to the chat' });
  }

  /** Returns the link to a message that was found, by a part of its text. */
  hit(text: string): Locator {
    return this.found.getByRole('link').filter({ hasText: text });
  }
}
