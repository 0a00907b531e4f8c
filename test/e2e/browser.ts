import { existsSync } from "node:fs";

import { chromium, type Page } from "playwright-core";

const known = ["/usr/bin/chromium", "/usr/bin/google-chrome", "/usr/bin/chromium-browser"];

/** Runs `use` with a page in a real Chromium: the one in CHROMIUM, or else the distribution's. Closes it afterwards. */
export async function inBrowser<T>(
  use: (page: Page) => Promise<T>,
  credentials?: { readonly username: string; readonly password: string },
): Promise<T> {
  const executablePath = process.env["CHROMIUM"] ?? known.find(existsSync);
  if (executablePath === undefined)
    throw new Error(`Chromium is required: set CHROMIUM, or install it as one of ${known.join(", ")}`);
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
