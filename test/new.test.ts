import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tsconfig } from "../worker-host/cli/new.ts";
import { TestClient } from "./harness/client.ts";
import { makeFolder } from "./harness/folder.ts";
import { runCli, startHost } from "./harness/host.ts";

test("new prop writes one that passes check, and runs, where nothing is installed", async () => {
  const cwd = makeFolder();
  const made = await runCli(["new", "prop", "lantern"], { cwd });
  expect(made).toMatchObject({ code: 0, stderr: "" });
  for (const path of ["backend/worker.ts", "backend/config.yaml", "README.md"]) {
    expect(made.stdout).toContain(`wrote props/lantern/${path}\n`);
  }
  expect(made.stdout).toContain("wrote tsconfig.json");
  expect(await runCli(["check", "lantern"], { cwd })).toEqual({ code: 0, stdout: "ok      lantern\n", stderr: "" });

  const host = await startHost({ cwd });
  const client = await TestClient.connect(await host.url());
  const lines = readFileSync(join(cwd, "props/lantern/README.md"), "utf8").matchAll(
    /mosquitto_pub -t (\S+) -m '(.+?)'/g,
  );
  const commands = [...lines].map(([, topic = "", text = ""]) => ({ topic, text }));
  expect(commands.map(({ text }) => text)).toEqual(["glow", "glow 2s", "stop", "ping"]);
  for (const { topic, text } of commands) await client.publish(topic, text);
  await client.expect("halloween/lantern/state", "glowing");
  await client.expect("halloween/lantern/telemetry/pong", "ok");
  await client.barrier();
  expect(client.texts("halloween/lantern/status/warn")).toEqual([]);
});

test("a second one shares the tsconfig; one that is somebody's own stays, and is told what to add", async () => {
  const cwd = makeFolder({ "haunt/tsconfig.json": "{}" });
  const { code, stdout } = await runCli(["new", "prop", "lantern", "--props", "haunt/props"], { cwd });
  expect(code).toBe(0);
  expect(stdout).toMatch(
    /for your editor, add to compilerOptions in haunt\/tsconfig\.json: "paths": \{"worker-host":\["\/.*index\.d\.ts"\]/,
  );
  expect(readFileSync(join(cwd, "haunt/tsconfig.json"), "utf8")).toBe("{}");
  expect((await runCli(["check", "lantern", "--props", "haunt/props"], { cwd })).code).toBe(0);
});

test.each(["/props", "/haunt/props"])("the tsconfig beside %s takes in the props", (folder) => {
  expect(JSON.parse(tsconfig(folder))).toMatchObject({ include: ["props"] });
});

test.each([
  [["prop", "fog machine"], /"fog machine" can't be an id: write it with letters, .* such as "fog_machine"/],
  [["prop", "broadcast"], /"broadcast" is reserved/],
  [["prop", "graph"], /"graph" is reserved for the builtin worker of that name: name it otherwise, such as "my_graph"/],
  [["prop", "../evil"], /"\.\.\/evil" can't be an id/],
  [["prop", "there"], /props\/there is there already: take another id, or remove it first/],
  [["worker", "lantern"], /there is no "worker" to make; there is: worker-host new prop <id>/],
])("new %j is refused, and writes nothing", async (args, says) => {
  const cwd = makeFolder({ "props/there/note.txt": "mine" });
  const { code, stderr } = await runCli(["new", ...args], { cwd });
  expect(stderr).toMatch(says);
  expect(code).toBe(2);
  expect(readdirSync(cwd, { recursive: true }).toSorted()).toEqual(["props", "props/there", "props/there/note.txt"]);
});
