import { createHash } from "node:crypto";
import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { freePort } from "../bench/ports.mjs";
import { isLinkGood, readDevices, readTokens } from "../worker-host/contract/devices.ts";
import { shared } from "./harness/ending.ts";
import { makeFolder } from "./harness/folder.ts";
import { runCli } from "./harness/host.ts";
import { openToLan } from "./harness/lan.ts";
import { get, Rpc, refusal } from "./harness/rpc.ts";
import { PATIENCE_MS } from "./harness/wait.ts";

const opened = shared(() => openToLan());

test("who isn't paired gets the page that says how, and nothing of the haunt, whatever it claims", async () => {
  const { url, local, page, host } = await opened();
  expect(page).toBe(url);
  await host.logged(
    /^on this machine http:\/\/127\.0\.0\.1:\d+; a phone is paired with "npx worker-host console pair"$/,
  );
  const { port } = new URL(url);
  const claims = [
    {},
    { host: `127.0.0.1:${port}` },
    { host: `localhost:${port}`, origin: `http://localhost:${port}` },
    { "x-forwarded-for": "127.0.0.1" },
    { cookie: `haunt_${port}=guessed` },
    { cookie: `haunt_${port}=` },
  ];
  const index = (await get(local)).text;
  for (const headers of claims) {
    const { code, text } = await get(url, headers);
    expect(code).toBe(403);
    expect(text).toContain("<pre>npx worker-host console pair</pre>");
    expect(text).not.toBe(index);
    expect((await get(`${url}/api/all_stop`, headers, "POST")).code).toBe(403);
    expect(await Rpc.closing(url, headers)).toBe(4401);
  }
  for (const [, path] of index.matchAll(/src="([^"]+)"/g)) expect((await get(`${url}${path}`)).code).toBe(403);
  const shown = (await get(`${url}/pair`)).text;
  const parts = [...shown.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map(([, path]) => path ?? "");
  expect(parts).toHaveLength(2);
  for (const path of parts) expect((await get(`${url}${path}`)).code, path).toBe(200);
  expect(host.stdout).not.toContain("all-stop is engaged");
});

test("on the machine itself nobody is asked, by its own names; another name there is nobody's", async () => {
  const { local, url } = await opened();
  expect((await get(local)).text).toContain('id="stop"');
  const rpc = await Rpc.open(local, { origin: local });
  expect((await rpc.cmd("hello")).result).toMatchObject({ role: "author" });
  expect((await rpc.cmd("hello")).result).not.toHaveProperty("device");
  expect((await get(local, { host: "evil.example" })).code).toBe(403);
  expect((await get(`${local}/api/pair`, {}, "POST", '{"code":"x"}')).code).toBe(404);
  for (const from of [local, url]) {
    expect((await get(from, { origin: "http://evil.example" })).code).toBe(403);
    expect(await refusal(`${from.replace("http", "ws")}/rpc/`, { origin: "http://evil.example" })).toBe(403);
  }
});

test("a link pairs one device, once; only hashes are kept, for the owner of the folder alone", async () => {
  const { url, folder, host, makeLink, useCode, cli } = await opened();
  const link = await makeLink("--name", "door");
  expect(link.href).toMatch(new RegExp(`^${url}/pair#[\\w-]{22}$`));
  const code = link.hash.slice(1);
  expect((await useCode(code, { origin: "http://evil.example" })).code).toBe(403);
  expect((await get(link.href.replace("#", "?"))).code).toBe(200);
  const [first, second] = await Promise.all([useCode(code, { origin: url }), useCode(code, { origin: url })]);
  expect([first.code, second.code].toSorted()).toEqual([200, 403]);
  const [paired, late] = first.code === 200 ? [first, second] : [second, first];
  expect(late.text).toMatch(/this link is no good any more: make another one with/);
  const cookie = String(paired.headers["set-cookie"]);
  expect(cookie).toMatch(/^haunt_\d+=[\w-]{43}; Path=\/; Max-Age=34560000; HttpOnly; SameSite=Strict$/);
  expect((await useCode(code)).code).toBe(403);
  const token = /=([\w-]+)/.exec(cookie)?.[1] ?? "";
  const hash = (text: string) => createHash("sha256").update(text).digest("hex");
  const [devices, tokens] = ["devices.json", "tokens.json"].map((name) => readFileSync(join(folder, name), "utf8"));
  expect(JSON.parse(devices ?? "").devices).toContainEqual({
    name: "door",
    role: "operator",
    code: hash(code),
    since: expect.any(Number),
  });
  expect(JSON.parse(tokens ?? "")[hash(code)]).toBe(hash(token));
  for (const secret of [code, token]) expect(`${devices}${tokens}${host.stdout}${host.stderr}`).not.toContain(secret);
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  expect(statSync(join(folder, "devices.json")).mode & 0o777).toBe(0o600);
  expect((await cli("pair", "--console-port", "1", "--name", "door")).stderr).toMatch(
    /there is a device "door": "npx worker-host console revoke door" first/,
  );
});

test("a link is good for 2 minutes", async () => {
  const { folder, url, makeLink, useCode, cli } = await opened();
  const link = await makeLink("--name", "late");
  const file = join(folder, "devices.json");
  const made = JSON.parse(readFileSync(file, "utf8")) as { devices: { name: string; since: number }[] };
  for (const device of made.devices) if (device.name === "late") device.since -= 121_000;
  writeFileSync(file, JSON.stringify(made));
  expect((await useCode(link.hash.slice(1), { origin: url })).code).toBe(403);
  expect((await cli("devices")).stdout).toMatch(/^late\s+operator\s+since .* UTC, not paired: its link was not used$/m);
  // Its name is free again.
  const again = await makeLink("--name", "late");
  expect((await useCode(again.hash.slice(1))).code).toBe(200);
  const device = { name: "x", role: "viewer", code: "", since: 1_000_000 } as const;
  expect([-120_001, -120_000, 0, 120_000, 120_001].map((ms) => isLinkGood(device, 1_000_000 + ms))).toEqual([
    ...[false, true, true, true, false],
  ]);
});

test("a role holds for each verb, and any paired device may stop all", async () => {
  const { url, pair, host } = await opened();
  const clients = new Map<string, Rpc>();
  for (const role of ["viewer", "operator", "author"]) {
    const headers = await pair(`a_${role}`, role);
    clients.set(role, await Rpc.open(url, headers));
    expect((await get(url, headers)).text).toContain('id="stop"');
    const foreign = { ...headers, origin: "http://evil.example" };
    expect((await get(`${url}/api/all_stop`, foreign, "POST")).code).toBe(403);
    expect(await refusal(`${url.replace("http", "ws")}/rpc/`, foreign)).toBe(403);
  }
  const ask = async (role: string, verb: string, kwargs: object) => {
    const rpc = clients.get(role);
    const { type, error } = (await rpc?.cmd(verb, { ...kwargs, pressed_at: await rpc.now() })) ?? {};
    return type === "result" ? "done" : error;
  };
  expect((await clients.get("viewer")?.cmd("hello"))?.result).toMatchObject({ role: "viewer", device: "a_viewer" });
  const ping = { id: "lab", action: "ping" };
  expect(await ask("viewer", "tell", ping)).toBe('tell: needs the role "operator"');
  expect(await ask("operator", "tell", ping)).toBe("done");
  expect(await ask("operator", "restart_worker", { id: "lab" })).toBe('restart_worker: needs the role "author"');
  expect(await ask("author", "restart_worker", { id: "lab" })).toBe("done");
  // What is asked while the console itself is being stopped ends with that.
  const allClear = () => expect.poll(() => ask("operator", "all_clear", {}), { timeout: PATIENCE_MS }).toBe("done");
  expect(await clients.get("viewer")?.cmd("all_stop")).toMatchObject({ type: "result" });
  expect(await host.logged("all-stop is engaged")).toMatchObject({ reason: "pressed on the page by a_viewer" });
  expect(await ask("viewer", "all_clear", {})).toBe('all_clear: needs the role "operator"');
  await allClear();
  const viewer = await pair("another_viewer", "viewer");
  expect((await get(`${url}/api/all_stop`, viewer, "POST")).code).toBe(200);
  await allClear();
});

test("a device that is revoked loses its sockets, and gets no other; a new link of that name is another device", async () => {
  const { url, pair, cli } = await opened();
  const headers = await pair("lost", "author");
  const beside = await Rpc.open(url, await pair("kept", "viewer"));
  const rpc = await Rpc.open(url, headers);
  await rpc.cmd("hello");
  const { code, stdout } = await cli("revoke", "lost");
  expect({ code, stdout }).toEqual({ code: 0, stdout: "lost is not paired any more\n" });
  expect((await get(url, headers)).code).toBe(403);
  expect(await Rpc.closing(url, headers)).toBe(4401);
  expect(await rpc.closed).toBe(4401);
  const again = await pair("lost", "viewer");
  expect((await get(url, headers)).code).toBe(403);
  expect((await get(url, again)).code).toBe(200);
  expect((await beside.cmd("hello")).type).toBe("result");
});

test("wrong codes are bounded, in size and number", async () => {
  const { url, useCode, makeLink, local } = await openToLan();
  for (const [body, code] of [
    ["", 400],
    ["[]", 400],
    ['{"code":5}', 400],
    [JSON.stringify({ code: "x".repeat(2_000) }), 413],
  ] as const)
    expect((await get(`${url}/api/pair`, {}, "POST", body)).code).toBe(code);
  expect((await get(`${url}/api/pair`)).code).toBe(405);
  const link = await makeLink();
  for (let i = 0; i < 10; i++) expect((await useCode("guessed")).code).toBe(403);
  expect((await useCode("guessed")).code).toBe(429);
  expect((await useCode(link.hash.slice(1))).code).toBe(429);
  expect((await get(local)).code).toBe(200);
  // One stranger doesn't take all room: of 60 connections 20 are cut.
  let cut = 0;
  await new Promise<void>((resolve) => {
    for (let i = 0; i < 60; i++) {
      const socket = connect(Number(new URL(url).port), new URL(url).hostname);
      onTestFinished(() => void socket.destroy());
      socket.on("error", () => {});
      socket.once("close", () => {
        // One that is only slow is told so before.
        if (socket.bytesRead === 0 && ++cut === 20) resolve();
      });
    }
  });
  await Rpc.open(local);
});

test("a devices.json that can't be read lets nobody new in; who is paired stays, and this machine goes on", async () => {
  const { url, folder, host, pair, makeLink, useCode, local, cli } = await openToLan();
  const file = join(folder, "devices.json");
  const headers = await pair("door");
  const link = await makeLink("--name", "new");
  const fine = readFileSync(file, "utf8");
  writeFileSync(file, fine.replaceAll("operator", "king"));
  expect((await useCode(link.hash.slice(1))).text).toMatch(/devices\.json can't be read: look at the log/);
  await host.logged(/devices\.json: door: role: expected one of viewer, operator, author: no device is added; mend it/);
  expect((await get(url, headers)).code).toBe(200);
  expect((await get(local)).code).toBe(200);
  const { code, stderr } = await cli("devices");
  expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(/devices\.json: door: role: .*mend it/) });
  writeFileSync(file, fine);
  expect((await useCode(link.hash.slice(1))).code).toBe(200);
  rmSync(file);
  expect((await get(url, headers)).code).toBe(403);
});

test("paired devices outlive the console, and are listed without a host", async () => {
  const { cli, pair, url, local, host } = await openToLan(["--console-port", String(await freePort())]);
  const headers = await pair("listed", "viewer");
  const rpc = await Rpc.open(url, headers);
  const shell = await Rpc.open(local);
  const pressed_at = await shell.now();
  shell.socket.send(JSON.stringify({ type: "cmd", cmd: "restart_worker", kwargs: { id: "console", pressed_at } }));
  expect(await rpc.closed).toBe(1001);
  const status = () => get(url, headers).then(({ code }) => code, String);
  await expect.poll(status, { timeout: PATIENCE_MS }).toBe(200);
  await host.stop();
  const listed = JSON.parse((await cli("devices", "--json")).stdout) as unknown;
  expect(listed).toEqual([{ name: "listed", role: "viewer", since: expect.any(String), paired: true }]);
});

test("what the command line is given is refused in words", async () => {
  const cwd = makeFolder();
  const cli = async (...words: string[]) => {
    const { code, stderr } = await runCli(["console", ...words], { cwd });
    return `${code} ${stderr}`;
  };
  expect(await cli("pair", "--name", "front door")).toMatch(/^1 --name: "front door" can't be an id: write it with/);
  expect(await cli("pair", "--role", "king")).toMatch(/^2 .*Allowed choices are viewer, operator, author/);
  expect(await cli("pair", "--console-port", "0")).toMatch(/^2 console_port is 0: name the port/);
  expect(await cli("revoke", "door")).toMatch(/^1 no device "door"; there are: none/);
  expect(await cli("devices")).toMatch(/^0 no device: "npx worker-host console pair"/);
  expect(await cli("pair")).toMatch(
    /^0 open it on the device that is to be "phone_1" \(operator\): good for 2 .*\n.* start worker-host with --lan\n$/,
  );
  expect(await cli("pair")).toMatch(/that is to be "phone_2"/);
});

test("the files are read strictly", () => {
  const hash = "0".repeat(64);
  const fine = { name: "a", role: "viewer", code: hash, since: 1 };
  expect([...readDevices(JSON.stringify({ devices: [fine] })).keys()]).toEqual(["a"]);
  for (const [devices, words] of [
    [undefined, /^expected \{"devices"/],
    [[5], /^devices: 0: expected a "name"/],
    [[{ ...fine, name: "__proto__/" }], /can't be an id/],
    [[{ ...fine, role: "host" }], /^a: role: expected one of viewer, operator, author/],
    [[{ ...fine, code: "abc" }], /^a: code: expected 64/],
    [[{ ...fine, since: "now" }], /^a: since: expected a number/],
    [[fine, fine], /^a name is there twice/],
    [Array.from({ length: 101 }, (_, at) => ({ ...fine, name: `a${at}` })), /^it has 101 devices: 100 at most/],
  ] as const)
    expect(() => readDevices(JSON.stringify({ devices }))).toThrow(words);
  expect(readTokens(`{"${hash}":"${hash}"}`).get(hash)).toBe(hash);
  for (const text of ["", "[]", '{"a":"b"}', `{"${hash}":5}`])
    expect(() => readTokens(text)).toThrow(/^expected an obj/);
});
