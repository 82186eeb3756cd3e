import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseCommand } from "../worker-host/contract/command.ts";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { ROOT, startHost } from "./harness/host.ts";

/** A node as Node-RED exports it. */
interface Node {
  id: string;
  type: string;
  z?: string;
  wires?: string[][];
  [property: string]: unknown;
}

const FLOW = JSON.parse(readFileSync(join(ROOT, "docs/node-red-flow.json"), "utf8")) as Node[];

function ofType(type: string): Node[] {
  return FLOW.filter((node) => node.type === type);
}

/** What the flow sends when somebody presses an inject node, as Node-RED would run it. */
function sent({ payload, payloadType, wires }: Node): string {
  expect(payloadType).toBe("json");
  const [once] = ofType("function").filter(({ id }) => wires?.flat().includes(id));
  const run = new Function("msg", String(once?.func)) as (msg: object) => { payload: object };
  return JSON.stringify(run({ _msgid: "0a1b2c3d", payload: JSON.parse(String(payload)) }).payload);
}

test("the flow for Node-RED is whole: one tab, one broker, and wires that lead somewhere", () => {
  const ids = FLOW.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  const [tab] = ofType("tab");
  const [broker] = ofType("mqtt-broker");
  expect(broker).toMatchObject({ broker: "localhost", port: "1883", cleansession: true });
  for (const { type, z, wires = [], broker: used } of FLOW) {
    if (type !== "tab" && type !== "mqtt-broker") expect(z).toBe(tab?.id);
    if (type.startsWith("mqtt ")) expect(used).toBe(broker?.id);
    for (const to of wires.flat()) expect(ids).toContain(to);
  }
  // Nothing is sent by itself.
  for (const inject of ofType("inject")) expect(inject).toMatchObject({ once: false, repeat: "", crontab: "" });
});

test("the flow for Node-RED watches the fogger, and its buttons command it, never retained", async () => {
  const [watch] = ofType("mqtt in");
  const [out] = ofType("mqtt out");
  expect(watch).toMatchObject({ topic: "halloween/fogger/#", qos: "1" });
  expect(out).toMatchObject({ topic: "halloween/fogger/cmd", qos: "1", retain: "false" });

  const broker = await startBroker();
  const client = await TestClient.connect(broker.url, [String(watch?.topic)]);
  await startHost({ broker, args: ["--props", join(ROOT, "props")], env: { WORKER_PROPS_ALLOW: "fogger" } });
  const actions = [];
  for (const inject of ofType("inject")) {
    const payload = sent(inject);
    const { command } = parseCommand(Buffer.from(payload));
    actions.push(command?.action);
    expect(command?.id).toMatch(/^node-red-/);
    const replyTo = `halloween/fogger/reply/${inject.id}`;
    await client.publish(String(out?.topic), JSON.stringify({ ...JSON.parse(payload), reply_to: replyTo }));
    const reply = await client.expect(replyTo);
    expect(JSON.parse(reply)).not.toHaveProperty("refused");
  }
  expect(actions).toEqual(["start", "stop"]);
});
