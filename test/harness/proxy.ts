import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { atEnd } from "./ending.ts";

/** MQTT 3.1.1, 2.2.1 */
export const PacketType = { CONNECT: 1, CONNACK: 2, PUBLISH: 3, PUBACK: 4, SUBSCRIBE: 8, UNSUBSCRIBE: 10 } as const;

/** One MQTT control packet on its way. */
export interface Frame {
  type: number;
  towards: "broker" | "client";
  /** The client id of its connection. */
  clientId: string;
  bytes: Buffer;
}

/** What the proxy does with a packet: hand it on, cut the connection before or after that. */
export type Verdict = "pass" | "cut-before" | "cut-after";

export interface Proxy {
  readonly port: number;
  readonly url: string;
  /** All packets so far. */
  readonly frames: Frame[];
  /** Says what becomes of each packet; a promise holds it, and those after it, back. */
  decide: (frame: Frame) => Verdict | Promise<Verdict>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** A proxy in front of a broker that knows MQTT packets apart. */
export async function startProxy(brokerPort: number): Promise<Proxy> {
  let server: Server;
  const sockets = new Set<Socket>();
  const proxy = {
    port: 0,
    get url() {
      return `mqtt://127.0.0.1:${this.port}`;
    },
    frames: [] as Frame[],
    decide: (): Verdict => "pass",
    async start() {
      server = createServer({ noDelay: true }, (client) =>
        link(client, connect({ port: brokerPort, host: "127.0.0.1", noDelay: true }), proxy, sockets),
      );
      server.listen(this.port, "127.0.0.1");
      await once(server, "listening");
      const address = server.address();
      if (address !== null && typeof address !== "string") this.port = address.port;
    },
    async stop() {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  await proxy.start();
  atEnd(() => (server.listening ? proxy.stop() : undefined));
  return proxy;
}

function link(client: Socket, broker: Socket, proxy: Proxy, sockets: Set<Socket>): void {
  const state = { clientId: "" };
  const cut = () => {
    client.destroy();
    broker.destroy();
  };
  for (const [from, to, towards] of [
    [client, broker, "broker"],
    [broker, client, "client"],
  ] as const) {
    sockets.add(from);
    from.on("error", cut);
    from.on("close", () => {
      sockets.delete(from);
      cut();
    });
    let queue = Promise.resolve();
    const split = splitter();
    from.on("data", (data) => {
      for (const bytes of split(data)) {
        const type = (bytes[0] ?? 0) >> 4;
        if (type === PacketType.CONNECT) state.clientId = clientIdOf(bytes);
        const frame: Frame = { type, towards, clientId: state.clientId, bytes };
        queue = queue.then(async () => {
          proxy.frames.push(frame);
          const verdict = await proxy.decide(frame);
          if (verdict === "cut-before") return cut();
          if (to.writable) to.write(bytes, () => verdict === "cut-after" && cut());
        });
      }
    });
  }
}

/** Splits a stream into packets (MQTT 3.1.1, 2.2). */
function splitter(): (data: Buffer) => Buffer[] {
  let rest = Buffer.alloc(0);
  return (data) => {
    rest = Buffer.concat([rest, data]);
    const packets: Buffer[] = [];
    for (;;) {
      const [length, header] = remainingLength(rest);
      if (length === undefined || rest.length < header + length) return packets;
      packets.push(rest.subarray(0, header + length));
      rest = rest.subarray(header + length);
    }
  };
}

function remainingLength(bytes: Buffer): [number | undefined, number] {
  let length = 0;
  for (let i = 1; i < Math.min(bytes.length, 5); i++) {
    const byte = bytes[i] ?? 0;
    length += (byte & 127) * 128 ** (i - 1);
    if (byte < 128) return [length, i + 1];
  }
  return [undefined, 0];
}

/** The protocol level of a CONNECT: 4 for MQTT 3.1.1, 5 for 5. */
export function protocolLevelOf(connectPacket: Buffer): number {
  const [, header] = remainingLength(connectPacket);
  return connectPacket[header + 6] ?? 0;
}

function clientIdOf(connectPacket: Buffer): string {
  const [, header] = remainingLength(connectPacket);
  let at = header + 10;
  if (protocolLevelOf(connectPacket) === 5) at += 1 + (connectPacket[at] ?? 0);
  const length = connectPacket.readUInt16BE(at);
  return connectPacket.toString("utf8", at + 2, at + 2 + length);
}

/** The topic of a PUBLISH. */
export function topicOf(publishPacket: Buffer): string {
  const [, header] = remainingLength(publishPacket);
  return publishPacket.toString("utf8", header + 2, header + 2 + publishPacket.readUInt16BE(header));
}
