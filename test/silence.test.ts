import { expect, test } from "vitest";
import { TestClient } from "./harness/client.ts";
import { workerSource } from "./harness/folder.ts";
import { runCli, startHost } from "./harness/host.ts";

const PING = workerSource("do_ping() { this.telemetry('pong', 1); }");

test("what is not where it is read is told, and what is told is no more than people need", async () => {
  const host = await startHost({
    props: {
      "tom/backend/worker.ts": PING,
      "tom/backend/config.toml": "level = 1\n",
      "out/backend/worker.ts": PING,
      "out/config.yml": "level: 1\n",
      "flat/worker.ts": PING,
      "typed/backend/worker.js": "export class Worker { level: number = 1; }\n",
      "broken/backend/worker.js": "export class Worker {\n",
      // It takes longer than a hang that is warned of, and comes to its end.
      "heavy/backend/worker.ts": `const end = Date.now() + 2_600; while (Date.now() < end);\n${PING}`,
      "chief/backend/worker.ts": workerSource(
        "async do_stop() { await this.command('tom', 'stop'); await this.command('gone', 'stop'); }",
      ),
    },
    args: ["--stall-warn-ms", "1500"],
  });
  await host.logged(
    /^\S*out\/config\.yml is not read: a config is \S*out\/backend\/config\.yaml, config\.yml or config\.json$/,
  );
  await host.logged(/^\S*tom\/backend\/config\.toml is not read/);
  await host.logged(/flat\/worker\.ts: a worker is in a folder "backend": move it to \S*flat\/backend\/worker\.ts/);
  await host.logged(/typed\/backend\/worker\.js:1:\d+: .*; it is TypeScript: give it a name that ends with \.ts/);
  await host.logged(/broken\/backend\/worker\.js:2:\d+: /);
  const client = await TestClient.connect(await host.url(), ["halloween/chief/#"]);
  await client.command("chief", "stop");
  const before = host.log.all.length;
  await host.stop();
  const all = host.log.all.map(({ msg }) => msg);
  expect(all.filter((msg) => /held up|broken.*TypeScript/.test(msg))).toEqual([]);
  expect(host.log.all.slice(before).filter(({ level }) => level >= 40)).toEqual([]);
});

test("a folder for props that is not there is told", async () => {
  const host = await startHost({ args: ["--props", "nowhere"] });
  await host.logged(/^nowhere: there is no such folder, and so no prop$/);
  await host.stop();
  const { stdout } = await runCli(["doctor", "--broker-port", "1"], { cwd: host.cwd });
  expect(stdout).not.toMatch(/\b1 entries/);
});
