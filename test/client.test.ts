import { expect, test } from "vitest";
import { startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";

const TOPIC = "halloween/lab/telemetry/n";
const OTHER = "halloween/lab/telemetry/m";

async function start() {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  const say = async (...texts: string[]) => {
    for (const text of texts) await client.publish(TOPIC, text);
  };
  /** Fulfils when `waiting` has not ended though all has arrived. */
  const waits = async (waiting: Promise<string>) => {
    await client.barrier();
    expect(await Promise.race([waiting, Promise.resolve("nothing yet")])).toBe("nothing yet");
  };
  return { client, say, waits };
}

test("each message is handed out once, in order, by topic", async () => {
  const { client, say, waits } = await start();
  await say("1", "1", "2");
  await client.publish(OTHER, "1");
  await client.barrier();
  expect([await client.expect(TOPIC), await client.expect(TOPIC, "1"), await client.expect(TOPIC)]).toEqual([
    ...["1", "1", "2"],
  ]);
  const next = client.expect(TOPIC);
  await waits(next);
  expect(await client.expect(OTHER)).toBe("1");
  await say("3");
  expect(await next).toBe("3");
  expect(client.texts(TOPIC)).toEqual(["1", "1", "2", "3"]);
});

test("messages before the one that is asked for are passed over, those that came and those to come", async () => {
  const { client, say, waits } = await start();
  await say("a", "b1", "a");
  expect(await client.expect(TOPIC, /^b/)).toBe("b1");
  const second = client.expect(TOPIC, /^b/);
  await say("a", "c");
  await waits(second);
  await say("b2");
  expect(await second).toBe("b2");
  await say("d");
  expect(await client.expect(TOPIC)).toBe("d");
});

test("an empty message is one", async () => {
  const { client, say } = await start();
  await say("", "x", "");
  expect([await client.expect(TOPIC), await client.expect(TOPIC, "")]).toEqual(["", ""]);
});

test("waits on one topic are served one by one, each from where the one before it ended", async () => {
  const { client, say, waits } = await start();
  const all = ["a", "b", undefined].map((text) => client.expect(TOPIC, text));
  await say("b", "a");
  expect(await all[0]).toBe("a");
  await waits(all[1] as Promise<string>);
  await say("b", "c", "d");
  expect(await Promise.all(all)).toEqual(["a", "b", "c"]);
  expect(await client.expect(TOPIC)).toBe("d");
});

test("a wait in vain tells what came on its topic and on all, and takes no message after that", async () => {
  const { client, say } = await start();
  await say("1", "2", "x".repeat(1_000));
  await client.publish(OTHER, "5");
  await client.barrier();
  expect(await client.expect(TOPIC)).toBe("1");
  const error = await client.expect(TOPIC, "3", 100).catch(({ message }: Error) => message);
  const long = `${"x".repeat(300)}… (1000 characters)`;
  expect(String(error).split("\n")).toEqual([
    `waited 100 ms in vain for ${TOPIC} 3; of 3 on that topic 1 were handed out before; the last of them:`,
    ...["  1", "  2", `  ${long}`],
    "the last on all topics:",
    ...[`  ${TOPIC} 1`, `  ${TOPIC} 2`, `  ${TOPIC} ${long}`, `  ${OTHER} 5`],
    expect.stringMatching(/^ {2}test\/barrier\//),
  ]);
  await say("3");
  expect(await client.expect(TOPIC)).toBe("3");
});
