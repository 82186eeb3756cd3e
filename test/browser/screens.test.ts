import { mkdirSync } from "node:fs";
import { join } from "node:path";
import axe from "axe-core";
import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { FakeBoard } from "../harness/board.ts";
import { startBroker } from "../harness/broker.ts";
import { button, card, pressDown, sharedBrowser, shows } from "../harness/browser.ts";
import { TestClient } from "../harness/client.ts";
import { shared } from "../harness/ending.ts";
import { ROOT, startHost } from "../harness/host.ts";

/** Where `npm run screenshots` puts a picture of each screen. */
const PICTURES = process.env.SCREENSHOTS;

const openPage = sharedBrowser();

/** The shipped props, with some boards, on a broker; one prop is locked out, one has said that something is wrong. */
const haunt = shared(async () => {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const host = await startHost({ broker, builtins: "shipped", page: true, args: ["--props", join(ROOT, "props")] });
  for (const id of ["coffin_jumper_hw", "fogger_hw"]) await FakeBoard.start(broker.url, id);
  await client.command("worker_host", { action: "lock_out", args: { id: "fogger", reason: "the hose leaks" } });
  await client.expect("halloween/fogger/status/lock_out", "the hose leaks");
  await client.publish("halloween/grave_shaker/status/warn", "the board has not answered for 12 s");
  return { broker, client, host, url: await host.page() };
});

/** What axe finds wrong with what is shown. */
async function violations(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const found = (await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")) as axe.AxeResults;
  return found.violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
}

async function look(page: Page, name: string): Promise<void> {
  if (PICTURES) {
    mkdirSync(PICTURES, { recursive: true });
    const { width } = page.viewportSize() ?? {};
    await page.screenshot({ path: join(PICTURES, `${name}-${width}.png`) });
    await page.screenshot({ path: join(PICTURES, `${name}-${width}-whole.png`), fullPage: true });
  }
  expect(await violations(page), name).toEqual([]);
  expect(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name).toBe(true);
}

test.each([
  ...(PICTURES ? [{ width: 390, height: 844 }] : []),
  { width: 320, height: 640 },
  { width: 1280, height: 800 },
])("each screen is whole and accessible, $width wide", { timeout: 120_000 }, async (size) => {
  const { client, url } = await haunt();
  const page = await openPage(url, size);
  await shows(page, /locked out: the hose leaks/);
  await look(page, "show");
  await page.getByRole("link", { name: "Props" }).click();
  await button(card(page, "coffin_jumper"), "disarm");
  await look(page, "props");
  await card(page, "sound_player").getByRole("link").click();
  await shows(page, "Commands");
  await look(page, "prop");
  await page.goto(`${url}/#/prop/coffin_jumper`);
  await page.getByLabel(/^How long/).fill("1,000");
  await shows(page, "expected ms, or a time such as 5s or 2min");
  await look(page, "form");
  await page.goto(`${url}/#/prop/fogger`);
  await shows(page, "LOCKED OUT: the hose leaks");
  await look(page, "locked-out");
  await pressDown(page.locator(".stop-bar"));
  await page.mouse.up();
  await shows(page, /\d confirmed in \d+ ms/);
  await look(page, "all-stop");
  await client.command("worker_host", { action: "all_clear" });
  await client.expect("halloween/worker_host/status/all_stop", "clear");
});
