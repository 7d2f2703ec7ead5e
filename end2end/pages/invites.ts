import type { Locator, Page } from '@playwright/test';

/** The pending invites, which are shown on every page. */
export class Invites {
  readonly region: Locator;
  readonly takeNone: Locator;
  readonly takeAgain: Locator;

  constructor(page: Page) {
    this.takeNone = page.getByRole('button', { name: 'Take no private invites' });
    this.takeAgain = page.getByRole('button', { name: 'Take private invites again' });
    this.region = page.getByRole('region', { name: 'Private chat invites' });
  }

  from(name: string): Locator {
    return this.region.getByRole('listitem').filter({ hasText: name });
  }

  accept(name: string): Locator {
    return this.from(name).getByRole('button', { name: 'Accept' });
  }

  decline(name: string): Locator {
    return this.from(name).getByRole('button', { name: 'Decline' });
  }
}
