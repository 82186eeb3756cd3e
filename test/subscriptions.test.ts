import { expect, test } from "vitest";
import { BROKER, startBroker } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { workerSource } from "./harness/folder.ts";
import { startHost } from "./harness/host.ts";

const RETAINED = { retain: true };
const SAW = "halloween/lab/telemetry/saw";

/** A worker with this body, and what it saw; `ask` gives it a command and waits until that has come to its end. */
async function lab(body: string) {
  const broker = await startBroker();
  const client = await TestClient.connect(broker.url);
  await client.publish("halloween/fogger/status/availability", "offline", RETAINED);
  await client.publish("halloween/fogger/state", "idle", RETAINED);
  await client.publish("halloween/coffin/state", "armed", RETAINED);
  await startHost({ broker, props: { "lab/backend/worker.ts": workerSource(body) } });
  let asked = 0;
  const ask = async (action: string) => {
    const reply = `halloween/cli/reply/${++asked}`;
    const replied = client.expect(reply, /"ok"/);
    await client.command("lab", { action, reply_to: reply });
    await replied;
  };
  return { client, ask, saw: (text?: string | RegExp) => client.expect(SAW, text) };
}

/** What it saw, the words of one handler after those of another. */
function sorted(client: TestClient): string[] {
  return client.texts(SAW).sort();
}

test("who watches a prop that was sent a command before is told whether it is online", async () => {
  const { ask, saw } = await lab(
    `do_send() { return this.command("fogger", "fire"); }
     do_watch() { return this.watchAvailability("fogger", (online) => this.telemetry("saw", online)).then(() => {}); }`,
  );
  await ask("send");
  await ask("watch");
  await saw("false");
});

test("who sends a command to a prop that it watches is warned of its absence", async () => {
  const { client, ask, saw } = await lab(
    `async start() { await this.watchAvailability("fogger", (online) => this.telemetry("saw", online)); }
     do_send() { return this.command("fogger", "fire"); }`,
  );
  await saw("false");
  await ask("send");
  await client.expect("halloween/lab/status/warn", /^"fire" went to fogger, which is not there/);
  await client.barrier();
  expect(client.texts(SAW)).toEqual(["false"]);
});

test.each(["fogger", "+"])(
  "the second that watches the state of %s is told it too, and the first not again",
  async (id) => {
    const { client, ask, saw } = await lab(
      `n = 0;
     async do_watch() {
       const n = ++this.n;
       await this.watchState("${id}", (state, id) => this.telemetry("saw", [n, id, state]));
     }
     do_ping() { this.telemetry("saw", "pong"); }`,
    );
    await ask("watch");
    await saw('[1,"fogger","idle"]');
    await client.publish("halloween/fogger/state", "fogging", RETAINED);
    await saw('[1,"fogger","fogging"]');
    await ask("watch");
    await saw('[2,"fogger","fogging"]');
    await client.publish("halloween/fogger/state", "off", RETAINED);
    for (const _ of [1, 2]) await saw(/"off"/);
    await ask("ping");
    await client.barrier();
    const coffin = id === "+" ? ['[1,"coffin","armed"]', '[2,"coffin","armed"]'] : [];
    const fogger = ['[1,"fogger","fogging"]', '[1,"fogger","idle"]', '[1,"fogger","off"]'];
    const second = ['[2,"fogger","fogging"]', '[2,"fogger","off"]'];
    expect(sorted(client)).toEqual([...coffin, ...fogger, ...second, "pong"].sort());
  },
);

test("of two that watch the same topic by other filters, each is told once", async () => {
  const { client, ask, saw } = await lab(
    `async start() {
       await this.watch("+", "pir", (value) => this.telemetry("saw", ["any", value]));
       await this.watch("coffin_hw", "pir", (value) => this.telemetry("saw", ["coffin", value]));
       await this.watch("+", "#", (value, { key }) => { if (key === "pir") this.telemetry("saw", ["all", value]); });
       await this.watchState("+", (state, id) => this.telemetry("saw", [id, state]));
       await this.watchState("fogger", (state) => this.telemetry("saw", ["the fogger", state]));
     }
     do_ping() { this.telemetry("pong", 1); }`,
  );
  await saw('["the fogger","idle"]');
  await client.publish("halloween/coffin_hw/telemetry/pir", "1");
  await client.publish("halloween/fogger/state", "fogging", RETAINED);
  await saw('["the fogger","fogging"]');
  await ask("ping");
  await client.barrier();
  expect(sorted(client)).toEqual([
    '["all",1]',
    '["any",1]',
    '["coffin","armed"]',
    '["coffin",1]',
    '["fogger","fogging"]',
    '["fogger","idle"]',
    '["the fogger","fogging"]',
    '["the fogger","idle"]',
  ]);
});

const SHARING = workerSource(
  "async start() { await this.subscribe('$share/g/exact/t', ({ text }) => this.telemetry('heard', text)); await this.subscribe('exact/t', ({ text }) => this.telemetry('own', text)); }",
);

test("a shared subscription without a wildcard calls its handler, or the broker that has none says so", async () => {
  const broker = BROKER === "mosquitto" ? await startBroker() : undefined;
  const host = await startHost({ ...(broker ? { broker } : {}), props: { "lab/backend/worker.ts": SHARING } });
  if (!broker) {
    await host.logged(/a subscription of .* was refused: the embedded broker knows no shared subscriptions/);
    return;
  }
  const client = await TestClient.connect(broker.url, ["halloween/lab/telemetry/#"]);
  for (const text of ["a", "b"]) {
    await client.publish("exact/t", text);
    await client.expect("halloween/lab/telemetry/heard", text);
    await client.expect("halloween/lab/telemetry/own", text);
  }
  expect(client.texts("halloween/lab/telemetry/heard")).toEqual(["a", "b"]);
  expect(client.texts("halloween/lab/telemetry/own")).toEqual(["a", "b"]);
});
