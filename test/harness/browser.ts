import { existsSync } from "node:fs";
import { chromium, type Locator, type Page } from "playwright-core";
import { onTestFinished } from "vitest";
import { atEnd, shared } from "./ending.ts";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

export type OpenPage = (url: string, size?: { width?: number; height?: number }) => Promise<Page>;

/** One Chromium for all tests of a file. Each page has a fresh profile; its test fails if the page threw. */
export function sharedBrowser(): OpenPage {
  const launched = shared(async () => {
    if (!existsSync(CHROMIUM))
      throw new Error(`no browser at ${CHROMIUM}: apt-get install chromium, or say where one is with CHROMIUM=/path`);
    const browser = await chromium.launch({
      executablePath: CHROMIUM,
      args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
      // As a person's browser does it.
      ignoreDefaultArgs: ["--disable-back-forward-cache"],
    });
    atEnd(() => browser.close());
    return browser;
  });
  return async (url, { width = 390, height = 844 } = {}) => {
    const browser = await launched();
    const context = await browser.newContext({ viewport: { width, height } });
    const thrown: Error[] = [];
    onTestFinished(async () => {
      await context.close();
      if (thrown[0]) throw thrown[0];
    });
    const page = await context.newPage();
    page.setDefaultTimeout(15_000);
    page.on("pageerror", (error) => thrown.push(error));
    await page.goto(url);
    return page;
  };
}

/** The card of a prop. */
export function card(page: Page, id: string): Locator {
  return page.locator(`[data-id="${id}"]`);
}

/** A button of a card, or of the page, by its label, as soon as it can be pressed. */
export async function button(place: Locator | Page, label: string): Promise<Locator> {
  const found = place.locator(`.press:has(.label:text-is("${label}"))`);
  await found.and(place.locator('[aria-disabled="false"]')).waitFor();
  return found;
}

/** Holds a button down until it has fired; once more where the machine was too busy for the page to be sure of it. */
export async function hold(found: Locator): Promise<void> {
  while (!(await pressIsSent(found)));
}

/** Holds a button down until it has fired, or can't be pressed any more; gives whether it has fired. */
export async function pressIsSent(found: Locator): Promise<boolean> {
  const page = found.page();
  await pressDown(found);
  // What it says until then is of the press before.
  await found.and(page.locator(':is([data-phase="holding"], [data-phase="dead"])')).waitFor();
  const fired = found.and(page.locator(':is([data-phase="sent"], [data-phase="done"], [data-phase="refused"])'));
  const dead = found.and(page.locator('[data-phase="dead"]'));
  const isFired = await Promise.any([fired.waitFor().then(() => true), dead.waitFor().then(() => false)]);
  await page.mouse.up();
  return isFired && !(await found.innerText()).includes("stood still");
}

/** Puts the finger down on a button. */
export async function pressDown(found: Locator): Promise<void> {
  await found.hover();
  await found.page().mouse.down();
}

/** Waits until an element, or the page, shows a text. */
export async function shows(place: Locator | Page, text: string | RegExp): Promise<void> {
  await place.getByText(text).first().waitFor();
}
