import { once } from "node:events";
import { request } from "node:http";
import { onTestFinished } from "vitest";
import { WebSocket } from "ws";
import { Happenings } from "./wait.ts";

export type Frame = Record<string, unknown>;

/** A client of `/rpc/`. */
export class Rpc {
  readonly frames = new Happenings<Frame>();
  readonly closed: Promise<number>;

  constructor(readonly socket: WebSocket) {
    socket.on("message", (data) => this.frames.add(JSON.parse(String(data)) as Frame));
    this.closed = once(socket, "close").then(([code]) => Number(code));
  }

  static async open(url: string, headers: Record<string, string> = {}): Promise<Rpc> {
    const socket = new WebSocket(`${url.replace("http", "ws")}/rpc/`, { headers });
    onTestFinished(() => socket.terminate());
    const rpc = new Rpc(socket);
    await once(socket, "open");
    return rpc;
  }

  /** The code that it is closed with, at once or later. */
  static async closing(url: string, headers: Record<string, string> = {}): Promise<number> {
    return (await Rpc.open(url, headers)).closed;
  }

  /** The answer to a command. */
  async cmd(cmd: string, kwargs: unknown = {}, id = `${Math.random()}`): Promise<Frame> {
    this.socket.send(JSON.stringify({ type: "cmd", cmd, kwargs, id }));
    return this.frames.next((frame) => frame.id === id, `the answer to ${cmd}`);
  }

  async now(): Promise<number> {
    return ((await this.cmd("hello")).result as { now: number }).now;
  }
}

/** What a plain request gets, with these headers and this body. */
export function get(url: string, headers: Record<string, string> = {}, method = "GET", body = "") {
  return new Promise<{ code: number; headers: Record<string, unknown>; text: string }>((resolve, reject) => {
    const sent = request(url, { method, headers }, (response) => {
      let text = "";
      response.on("data", (data) => {
        text += String(data);
      });
      response.on("end", () => resolve({ code: response.statusCode ?? 0, headers: response.headers, text }));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

/** The status that an upgrade is refused with. */
export async function refusal(url: string, headers: Record<string, string>): Promise<number> {
  const socket = new WebSocket(url, { headers });
  socket.on("error", () => {});
  const [, response] = await once(socket, "unexpected-response");
  return (response as { statusCode: number }).statusCode;
}
