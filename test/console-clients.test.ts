import { EventEmitter, once } from "node:events";
import { connect } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { Rate, RpcClient } from "../builtin-workers/console/rpc-client.ts";
import { Seats } from "../builtin-workers/console/seats.ts";
import { BusModel } from "../worker-host/contract/bus.ts";
import { Topics } from "../worker-host/contract/topics.ts";
import { z } from "../worker-host/index.ts";
import { shared } from "./harness/ending.ts";
import { startHost } from "./harness/host.ts";
import { Happenings, PATIENCE_MS } from "./harness/wait.ts";

const served = shared(async () => {
  const host = await startHost({ builtins: "shipped", page: true });
  return { host, url: await host.page() };
});

async function open(url: string): Promise<WebSocket> {
  const socket = new WebSocket(url);
  onTestFinished(() => socket.terminate());
  await once(socket, "open");
  return socket;
}

test("a connection that asks on without its answers is closed, whatever else it has sent; the others are served", async () => {
  const { url } = await served();
  const { port, host } = new URL(url);
  const get = `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  const hasty = Array.from({ length: 100 }, () => {
    const socket = connect(Number(port), "127.0.0.1");
    onTestFinished(() => void socket.destroy());
    let text = "";
    socket.on("data", (data) => {
      text += String(data);
    });
    socket.on("error", () => {});
    socket.write(get.repeat(5_000));
    return new Promise<string>((resolve) => socket.once("close", () => resolve(text)));
  });
  for (const text of await Promise.all(hasty)) expect(text.split("HTTP/1.1 200").length).toBeLessThan(3);
  expect((await fetch(url)).status).toBe(200);
});

test("a new client gets the seat of the one that was silent for longest; who talks keeps its own", async () => {
  const { url } = await served();
  const rpc = `${url.replace("http", "ws")}/rpc/`;
  const talker = await open(rpc);
  const talking = setInterval(() => talker.send('{"type":"ping"}'), 200);
  onTestFinished(() => clearInterval(talking));
  const silent = await Promise.all(Array.from({ length: 49 }, () => open(rpc)));
  const gone = new Happenings<number>();
  silent.forEach((socket, index) => {
    socket.once("close", () => gone.add(index));
  });
  await expect.poll(() => open(rpc).then(() => "in", String), { timeout: PATIENCE_MS, interval: 200 }).toBe("in");
  await gone.find(() => true, "the end of one that was silent");
  expect(talker.readyState).toBe(WebSocket.OPEN);
});

test("a client that answers no ping, since it reads nothing, is closed; another stays", async () => {
  const seats = new Seats();
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  onTestFinished(() => server.close());
  server.on("connection", (socket) => seats.take(socket));
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const client = async (autoPong: boolean) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}`, { autoPong });
    onTestFinished(() => socket.terminate());
    await once(socket, "open");
    return socket;
  };
  const [deaf, well] = [await client(false), await client(true)];
  const closed = once(deaf, "close");
  for (let round = 1; round <= 5; round++) {
    const pinged = once(well, "ping");
    seats.sweep();
    await pinged;
    // Its pong has arrived before what it says now.
    well.send("x");
    await Promise.all([...server.clients].slice(-1).map((socket) => once(socket, "message")));
  }
  await closed;
  expect(well.readyState).toBe(WebSocket.OPEN);
});

test("clients that send one long frame after the other are closed; others are not", async () => {
  const { url } = await served();
  const rpc = `${url.replace("http", "ws")}/rpc/`;
  const [calm, ...loud] = await Promise.all(Array.from({ length: 4 }, () => open(rpc)));
  const closed = loud.map((socket) => once(socket, "close").then(([code]) => Number(code)));
  const long = JSON.stringify({ type: "other", a: "x".repeat(70_000) });
  for (let i = 0; i < 40; i++) for (const socket of loud) socket.send(long);
  expect(await Promise.all(closed)).toEqual([1008, 1008, 1008]);
  calm?.send('{"type":"ping"}');
  await once(calm as WebSocket, "message");
});

test("a client has two long results under way; more are refused in words", async () => {
  const { url } = await served();
  const socket = await open(`${url.replace("http", "ws")}/rpc/`);
  const frames = new Happenings<Record<string, unknown>>();
  socket.on("message", (data) => frames.add(JSON.parse(String(data)) as Record<string, unknown>));
  for (let i = 0; i < 10; i++)
    socket.send(JSON.stringify({ type: "cmd", cmd: "log", id: `${i}`, kwargs: { id: "heartbeat" } }));
  const answers = await Promise.all(
    Array.from({ length: 10 }, (_, i) => frames.find(({ id }) => id === `${i}`, `the answer ${i}`)),
  );
  const refused = answers.filter(({ error }) => error === "log: read first what you asked for before");
  expect(answers.filter(({ type }) => type === "result").length).toBeGreaterThanOrEqual(2);
  expect(refused.length).toBeGreaterThan(0);
  expect(answers.filter(({ type }) => type === "result").length + refused.length).toBe(10);
});

test.each([
  { all: 1_000_000, closed: undefined },
  { all: 100_000_000, closed: 1013 },
])("with $all bytes unread by all, a client that has 300,000 of them is closed: $closed", async ({ all, closed }) => {
  const sent = new Happenings<string>();
  let code: number | undefined;
  const socket = Object.assign(new EventEmitter(), {
    ...{ readyState: 1, OPEN: 1, bufferedAmount: 300_000 },
    send: (frame: string) => sent.add(frame),
    close: (given: number) => {
      code = given;
      sent.add("");
    },
  });
  const what = { role: "viewer" as const, what: "", kwargs: z.strictObject({}), run: () => "pong" };
  const bus = new BusModel(new Topics("halloween"));
  new RpcClient({
    socket: socket as unknown as WebSocket,
    device: undefined,
    verbs: new Map([["ask", what]]),
    bus: () => bus,
    connected: () => true,
    waitingBytes: () => all,
    longFrames: new Rate(5),
  });
  socket.emit("message", '{"type":"cmd","cmd":"ask"}', false);
  await sent.next(() => true, "its answer, or its end");
  expect(code).toBe(closed);
});
