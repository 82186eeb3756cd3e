import { existsSync } from "node:fs";
import { type Browser, chromium, type Locator, type Page } from "playwright-core";
import { onTestFinished } from "vitest";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** A page of a Chromium of its own, with a fresh profile; it is closed with the test, which fails if the page threw. */
export async function openPage(url: string, { width = 390, height = 844 } = {}): Promise<Page> {
  if (!existsSync(CHROMIUM))
    throw new Error(`no browser at ${CHROMIUM}: apt-get install chromium, or say where one is with CHROMIUM=/path`);
  const browser: Browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
  });
  const thrown: Error[] = [];
  onTestFinished(async () => {
    await browser.close();
    if (thrown[0]) throw thrown[0];
  });
  const page = await browser.newPage({ viewport: { width, height } });
  page.setDefaultTimeout(15_000);
  page.on("pageerror", (error) => thrown.push(error));
  await page.goto(url);
  return page;
}

/** The card of a prop. */
export function card(page: Page, id: string): Locator {
  return page.locator(`[data-id="${id}"]`);
}

/** A button of a card, or of the page, by its label, as soon as it can be pressed. */
export async function button(place: Locator | Page, label: string): Promise<Locator> {
  const found = place.locator(".press").filter({ hasText: label });
  await place.locator('.press[aria-disabled="false"]').filter({ hasText: label }).waitFor();
  return found;
}

/** Holds a button down until it has fired; once more where the machine was too busy for the page to be sure of it. */
export async function hold(found: Locator): Promise<void> {
  const phases = ["sent", "done", "refused"].map((phase) => `[data-phase="${phase}"]`);
  await pressDown(found);
  await found.and(found.page().locator(`:is(${phases.join()})`)).waitFor();
  await found.page().mouse.up();
  if ((await found.innerText()).includes("stood still")) await hold(found);
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
