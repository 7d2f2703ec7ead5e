/** The flags with which Chromium is started, by Playwright and by WebDriver. */
export const chromiumFlags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // a name for this machine that browsers do not treat as a trustworthy origin, unlike 127.0.0.1
  '--host-resolver-rules=MAP elsewhere.test 127.0.0.1',
];
