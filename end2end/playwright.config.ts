import { defineConfig } from '@playwright/test';

const executablePath = process.env.QCHAT_BROWSER;
if (!executablePath) throw new Error('QCHAT_BROWSER is not set: run these tests by `make test-browser`');

export default defineConfig({
  testDir: 'tests',
  outputDir: 'test-results',
  // A test that fails once and passes then has found something: nothing is tried twice.
  retries: 0,
  fullyParallel: true,
  workers: 2,
  forbidOnly: !!process.env.CI,
  reporter: [['list']],
  // far more than any story takes: what is late in one of them is told by what it waits for, in seconds
  timeout: 90_000,
  use: {
    locale: 'en-GB',
    timezoneId: 'Europe/Berlin',
    screenshot: 'only-on-failure',
    launchOptions: {
      executablePath,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        // this machine by a name that browsers do not trust as they trust it by itself
        '--host-resolver-rules=MAP elsewhere.test 127.0.0.1',
      ],
    },
  },
});
