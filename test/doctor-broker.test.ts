import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { freePort } from "../bench/ports.mjs";
import { BROKER } from "./harness/broker.ts";
import { doctor } from "./harness/doctor.ts";
import { makeFolder } from "./harness/folder.ts";

/** A mosquitto whose access list denies something. */
async function strictBroker(acl: string[]): Promise<{ port: number }> {
  const port = await freePort();
  const folder = makeFolder({ acl: `${acl.join("\n")}\n` });
  const file = join(folder, "acl");
  const config = join(
    makeFolder({
      "mosquitto.conf": `listener ${port} 127.0.0.1\nuser root\nallow_anonymous true\nacl_file ${file}\nset_tcp_nodelay true\n`,
    }),
    "mosquitto.conf",
  );
  const child = spawn("mosquitto", ["-v", "-c", config], { stdio: ["ignore", "ignore", "pipe"] });
  const exited = once(child, "exit");
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await exited;
  });
  for await (const data of child.stderr) if (String(data).includes("running")) break;
  child.stderr.resume();
  return { port };
}

test.runIf(BROKER === "mosquitto").each([
  ["publish anything", ["topic read #"], 2],
  ["read anything", ["topic write #"], 2],
  ["publish as the host", ["topic read #", "topic write halloween/cli/#"], 1],
  ["use our prefix", ["topic readwrite haunted/#"], 2],
])("a broker that acknowledges, and doesn't let us %s", async (_what, acl, count) => {
  const broker = await strictBroker(acl);
  const { faults, of } = await doctor({ broker });
  expect(faults).toEqual(new Array(count).fill("rights"));
  expect(of("rights").at(0)?.text).toMatch(/^halloween\/worker_host\/status\/doctor: .*we may not publish there/);
  expect(of("rights").at(0)?.remedy).toContain("halloween/#");
});

test.runIf(BROKER === "mosquitto")("a broker whose list lets us do all that a host does", async () => {
  expect((await doctor({ broker: await strictBroker(["topic readwrite halloween/#"]) })).faults).toEqual([]);
});
