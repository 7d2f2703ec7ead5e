import { defineConfig } from '@playwright/test';
import { chromiumFlags } from './support/chromium.ts';

const executablePath = process.env.QCHAT_BROWSER;
if (!executablePath) throw new Error('QCHAT_BROWSER is not set: run these tests by `make test-browser`');

export default defineConfig({
  testDir: 'tests',
  outputDir: 'test-results',
  // A test that fails once and then passes has found a problem, so no test is retried.
  retries: 0,
  fullyParallel: true,
  workers: 2,
  forbidOnly: !!process.env.CI,
  reporter: [['list']],
  // far more than any story takes: each expectation in a story has its own timeout of some seconds
  timeout: 90_000,
  use: {
    locale: 'en-GB',
    timezoneId: 'Europe/Berlin',
    screenshot: 'only-on-failure',
    launchOptions: {
      executablePath,
      args: chromiumFlags,
    },
  },
});
