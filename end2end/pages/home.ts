import type { Locator, Page } from '@playwright/test';

export class HomePage {
  readonly nickname: Locator;
  readonly title: Locator;
  readonly private: Locator;
  readonly start: Locator;
  readonly anotherNickname: Locator;
  readonly problem: Locator;

  constructor(readonly page: Page) {
    this.nickname = page.getByRole('textbox', { name: 'Nickname' });
    this.title = page.getByRole('textbox', { name: 'Chat title' });
    this.private = page.getByRole('checkbox', { name: 'Private' });
    this.start = page.getByRole('button', { name: 'Start chat' });
    this.anotherNickname = page.getByRole('button', { name: 'Another nickname' });
    this.problem = page.getByRole('alert').filter({ hasText: /./ });
  }

  async startChat(chat: { nickname?: string; title?: string; private?: boolean } = {}): Promise<void> {
    if (chat.nickname !== undefined) await this.nickname.fill(chat.nickname);
    if (chat.title !== undefined) await this.title.fill(chat.title);
    if (chat.private) await this.private.check();
    await this.start.click();
  }
}
