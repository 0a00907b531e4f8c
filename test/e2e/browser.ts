import { existsSync } from "node:fs";

import { chromium, type Page } from "playwright-core";

const known = ["/usr/bin/chromium", "/usr/bin/google-chrome", "/usr/bin/chromium-browser"];

/** Opens a page in a real Chromium (CHROMIUM, or where Linux distributions put it), and closes it afterwards. */
export async function inBrowser<T>(
  use: (page: Page) => Promise<T>,
  credentials?: { readonly username: string; readonly password: string },
): Promise<T> {
  const executablePath = process.env["CHROMIUM"] ?? known.find(existsSync);
  if (executablePath === undefined)
    throw new Error(`Chromium is needed: none of ${known.join(", ")} is there`);
  const browser = await chromium.launch({
    executablePath,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  try {
    const context = await browser.newContext(credentials && { httpCredentials: credentials });
    return await use(await context.newPage());
  } finally {
    await browser.close();
  }
}
