/** How long to wait for a program, in milliseconds: far more than any takes. */
const TIMEOUT_MILLIS = 30_000;

/** Asks until the answer is yes. Throws after a timeout, with the error of the last question. */
export async function until(what: string, ask: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + TIMEOUT_MILLIS;
  let why: unknown;
  while (!(await ask().catch((error: unknown) => void (why = error)))) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${TIMEOUT_MILLIS / 1_000} s`, { cause: why });
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}
