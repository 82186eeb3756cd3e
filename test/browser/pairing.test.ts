import { expect, test } from "vitest";
import { button, card, pressDown, sharedBrowser, shows } from "../harness/browser.ts";
import { openToLan } from "../harness/lan.ts";

const openPage = sharedBrowser();

test("a phone is paired by its link, sees who it is, is refused what its role may not do, and stops all; until it is revoked", async () => {
  const { url, host, makeLink, cli } = await openToLan();
  const page = await openPage(url);
  await shows(page, "This device is not paired");
  await page.goto(`${url}/pair#guessed`);
  await shows(page, /this link is no good any more/);
  const link = await makeLink("--name", "door", "--role", "viewer");
  await page.goto("about:blank");
  await page.goto(link.href);
  await shows(page, /door, viewer/);
  expect(page.url()).toBe(`${url}/`);
  await page.goto(`${url}/#/props`);
  const ping = card(page, "lab").locator('.press[aria-disabled="true"]', { hasText: "ping" });
  await shows(ping, "for operators");
  await card(page, "lab").getByRole("link").first().click();
  await shows(page.locator(".press", { hasText: "Restart its worker" }), "for operators");
  expect(await page.getByRole("button", { name: /^Read its end/ }).isDisabled()).toBe(true);
  await pressDown(page.locator(".stop-bar"));
  await page.mouse.up();
  await host.logged("all-stop is engaged");
  await shows(page.locator(".stop-bar"), "ENGAGED");
  await shows(page.locator(".press", { hasText: "All clear" }), "for operators");
  expect((await cli("revoke", "door")).code).toBe(0);
  await shows(page, "This device is not paired");
  const operator = await makeLink("--name", "door");
  await page.goto(operator.href);
  await shows(page, /door, operator/);
  await button(page, "All clear");
  await page.goto(`${url}/#/prop/lab`);
  await shows(page.locator(".press", { hasText: "Restart its worker" }), "for authors");
});
