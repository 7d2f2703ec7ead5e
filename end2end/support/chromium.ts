/** How Chromium is started, whoever drives it. */
export const chromiumFlags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // this machine by a name that browsers do not trust as they trust it by itself
  '--host-resolver-rules=MAP elsewhere.test 127.0.0.1',
];
