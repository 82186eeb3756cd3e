import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { gzipSync } from "node:zlib";
import { type Device, isLoopback, NOT_PAIRED, PAIR_COMMAND } from "worker-host/contract/devices.ts";
import { fieldsOf } from "worker-host/contract/json-check.ts";
import { jsonIn } from "worker-host/contract/payload.ts";
import { type WebSocket, WebSocketServer } from "ws";
import { type Devices, PairingError } from "./devices.ts";
import { Seats } from "./seats.ts";

export interface PageServerOptions {
  port: number;
  host: string;
  /** The folder of the built page. */
  folder: string;
  devices: Devices;
  /** Fulfils when all-stop is engaged, or was by that press; gives whether it is. */
  allStop: (press: string | undefined, by: string | undefined) => Promise<{ engaged: boolean }>;
  /** `device` is `undefined` on this machine. */
  onSocket: (socket: WebSocket, device: Device | undefined) => void;
}

/** Where a request comes from: a device that is paired, this machine, or neither. */
type Visitor = Device | "this machine" | undefined;

interface PageFile {
  type: string;
  body: Buffer;
  zipped: Buffer;
  /** Its name changes with what is in it. */
  hashed: boolean;
}

const RPC = "/rpc/";
const ALL_STOP = "/api/all_stop";
const PAIR = "/api/pair";
/** The page for those who aren't paired, and what it is made of. */
const PAIR_PAGE = "/pair";
const FOR_STRANGERS = /^\/(pair(-\w+\.js)?|page-\w+\.css)$/;
/** Which press it is, in the address of all-stop. */
const PRESS = /\?press=([\w-]{1,200})$/;
const LONGEST_FRAME = 1_048_576;
const LONGEST_PAIRING = 1_024;
const MOST_CONNECTIONS = 200;
/** From one address of the network: no single stranger takes all of them. */
const MOST_OF_ONE = 40;
/** How long a socket that was closed may take to go. */
const CLOSE_MS = 2_000;
const COOKIE_S = 400 * 24 * 3600;
const SLOW_MS = 10_000;

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
};

const HEADERS = {
  "content-security-policy":
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
} as const;

const SOCKETS = { noServer: true, perMessageDeflate: false, closeTimeout: CLOSE_MS };

/**
 * Serves the page's files, which are read once, all-stop beside the socket, and the sockets of the RPC. By Node's own server:
 * it has a handful of paths, and a framework takes half a second to load.
 */
export class PageServer {
  readonly #server = createServer((request, response) => this.#answer(request, response));
  readonly #sockets = new WebSocketServer({ ...SOCKETS, maxPayload: LONGEST_FRAME });
  /** Those who aren't paired are told so, and take no room from those who are. */
  readonly #strangers = new WebSocketServer({ ...SOCKETS, maxPayload: LONGEST_PAIRING });
  readonly #connections = new Map<string, number>();
  readonly seats = new Seats();
  /** The connections whose last request is not answered yet, or whose answer is not taken. */
  readonly #busy = new WeakSet<Duplex>();
  /** It listens to the network. */
  #isOpen = false;
  #files: ReadonlyMap<string, PageFile> = new Map();

  constructor(private readonly options: PageServerOptions) {}

  /**
   * Gives the address of the page.
   *
   * @throws Error where the port can't be opened, or there is no page
   */
  async start(): Promise<string> {
    const { port, host, folder } = this.options;
    this.#files = readFiles(folder);
    const server = this.#server;
    server.maxConnections = MOST_CONNECTIONS;
    server.requestTimeout = SLOW_MS;
    server.headersTimeout = SLOW_MS;
    server.timeout = SLOW_MS;
    server.on("connection", (socket) => this.#count(socket));
    server.on("upgrade", (request, socket, head) => this.#upgrade(request, socket, head));
    server.listen({ port, host });
    try {
      await once(server, "listening");
    } catch (error) {
      throw explain(error as NodeJS.ErrnoException, this.options);
    }
    const { address, family, port: given } = server.address() as AddressInfo;
    this.#isOpen = !isLoopback(address);
    const shown = /^(0\.0\.0\.0|::)$/.test(address) ? lanAddress() : family === "IPv6" ? `[${address}]` : address;
    return `http://${shown}:${given}`;
  }

  /** Closes the port, and all that is connected to it. */
  async stop(): Promise<void> {
    for (const socket of this.#sockets.clients) socket.close(1001, "the console is stopping");
    this.#sockets.close();
    this.#strangers.close();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    for (const { clients } of [this.#sockets, this.#strangers]) for (const socket of clients) socket.terminate();
    await closed;
  }

  #count(socket: Socket): void {
    const from = socket.remoteAddress ?? "";
    if (isLoopback(from)) return;
    const count = this.#connections.get(from) ?? 0;
    if (count >= MOST_OF_ONE) {
      socket.destroy();
      return;
    }
    this.#connections.set(from, count + 1);
    socket.once("close", () => {
      const left = (this.#connections.get(from) ?? 1) - 1;
      if (left > 0) this.#connections.set(from, left);
      else this.#connections.delete(from);
    });
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    // No browser sends a request before it has the last answer: answers would pile up for one that reads none.
    if (this.#busy.has(socket)) {
      socket.destroy();
      return;
    }
    this.#busy.add(socket);
    response.once("finish", () => this.#busy.delete(socket));
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value);
    const path = request.url?.split("?")[0] ?? "";
    const file = this.#files.get(path);
    const why = this.#whyForeign(request);
    const visitor = this.#visitorOf(request);
    if (why === undefined && path === PAIR && visitor !== "this machine") {
      this.#pair(request, response);
      return;
    }
    // No other body is read.
    request.resume();
    if (why !== undefined) sendJson(response, 403, { error: why });
    else if (!visitor && !FOR_STRANGERS.test(path)) this.#refuseStranger(path, request, response);
    else if (path === ALL_STOP) this.#stopAll(request, response, nameOf(visitor));
    else if (!file) sendJson(response, 404, { error: "nothing is here" });
    else if (request.method !== "GET") sendJson(response, 405, { error: "only GET" });
    else sendFile(response, file, request.headers["accept-encoding"]);
  }

  #refuseStranger(path: string, request: IncomingMessage, response: ServerResponse): void {
    const page = this.#files.get(PAIR_PAGE);
    if (path === "/" && page) sendFile(response, page, request.headers["accept-encoding"], 403);
    else sendJson(response, 403, { error: `this device is not paired: "${PAIR_COMMAND}"` });
  }

  #stopAll({ method, url }: IncomingMessage, response: ServerResponse, by: string | undefined): void {
    if (method !== "POST") {
      sendJson(response, 405, { error: "only POST" });
      return;
    }
    this.options.allStop(PRESS.exec(url ?? "")?.[1], by).then(
      (answer) => sendJson(response, 200, answer),
      (error: Error) => sendJson(response, 503, { error: error.message }),
    );
  }

  /** The code comes in the body of a request: no address that is kept or looked at has it. */
  #pair(request: IncomingMessage, response: ServerResponse): void {
    const from = request.socket.remoteAddress ?? "";
    const paired = async () => {
      if (request.method !== "POST") throw new PairingError(405, "only POST");
      const { code } = fieldsOf(jsonIn(await bodyOf(request)));
      if (typeof code !== "string") throw new PairingError(400, 'expected {"code": …}');
      const token = await this.options.devices.pair(code, from);
      response.setHeader(
        "set-cookie",
        `${cookieOf(request)}=${token}; Path=/; Max-Age=${COOKIE_S}; HttpOnly; SameSite=Strict`,
      );
    };
    paired().then(
      () => sendJson(response, 200, { paired: true }),
      (error: Error) => {
        const status = error instanceof PairingError ? error.status : 400;
        // What is left of a body that is too long is not read.
        response.setHeader("connection", "close");
        sendJson(response, status, { error: error.message });
      },
    );
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const why = this.#whyForeign(request);
    const visitor = this.#visitorOf(request);
    if (why !== undefined) refuse(socket, "403 Forbidden", why);
    else if (request.url?.split("?")[0] !== RPC) refuse(socket, "404 Not Found", `the RPC is at ${RPC}`);
    else if (!visitor) this.#strangers.handleUpgrade(request, socket, head, leave);
    else if (!this.seats.makeRoom()) refuse(socket, "503 Service Unavailable", "too many pages are open: close one");
    else {
      const device = visitor === "this machine" ? undefined : visitor;
      this.#sockets.handleUpgrade(request, socket, head, (opened) => {
        this.seats.take(opened);
        this.options.onSocket(opened, device);
      });
    }
  }

  /**
   * Why a request is not one of our own page's, or of a program's; browsers always say where they are. A page that a name
   * server points here has its own name for its origin and no cookie of ours; without the network, that name is enough.
   */
  #whyForeign(request: IncomingMessage): string | undefined {
    const { host, origin, "sec-fetch-site": from = "none" } = request.headers;
    if (host === undefined || !(this.#isOpen || isOwnName(host))) return "this page is opened by its own address only";
    // A link of another page may lead here.
    const isOwn = request.method === "GET" || from === "same-origin" || from === "none";
    if (!isOwn || (origin !== undefined && origin !== `http://${host}`)) return "another page may not reach this one";
    return undefined;
  }

  /** Whatever it claims, what comes from elsewhere has to be paired. */
  #visitorOf(request: IncomingMessage): Visitor {
    const { host = "", cookie = "" } = request.headers;
    if (isLoopback(request.socket.remoteAddress ?? "") && isOwnName(host)) return "this machine";
    const name = `${cookieOf(request)}=`;
    const pair = cookie.split("; ").find((one) => one.startsWith(name));
    return pair === undefined ? undefined : this.options.devices.deviceOf(pair.slice(name.length));
  }
}

function isOwnName(host: string): boolean {
  return isLoopback(host.replace(/:\d+$/, ""));
}

function nameOf(visitor: Visitor): string | undefined {
  return typeof visitor === "object" ? visitor.name : undefined;
}

/** Browsers don't tell ports apart: two hosts on one machine have a cookie each. */
function cookieOf({ socket }: IncomingMessage): string {
  return `haunt_${socket.localPort}`;
}

function leave(socket: WebSocket): void {
  socket.on("error", () => socket.terminate());
  socket.close(NOT_PAIRED, "this device is not paired");
}

/** @throws Error for one that is too long */
async function bodyOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > LONGEST_PAIRING) throw new PairingError(413, `at most ${LONGEST_PAIRING} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

/** The first address by which others in the network reach this machine; its own where it is in none. */
function lanAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((infos) => infos ?? []);
  return all.find(({ family, internal }) => family === "IPv4" && !internal)?.address ?? "127.0.0.1";
}

/** The files of the page by their paths. */
function readFiles(folder: string): ReadonlyMap<string, PageFile> {
  const files = readdirSync(folder).map((name): [string, PageFile] => {
    const body = readFileSync(join(folder, name));
    const type = TYPES[name.replace(/^.*\./, "")] ?? "application/octet-stream";
    return [
      name === "index.html" ? "/" : `/${name.replace(".html", "")}`,
      { type, body, zipped: gzipSync(body), hashed: !name.endsWith(".html") },
    ];
  });
  return new Map(files);
}

function sendFile(
  response: ServerResponse,
  { type, body, zipped, hashed }: PageFile,
  accepted: string | string[] = "",
  code = 200,
) {
  const isZipped = /\bgzip\b/.test(String(accepted));
  response
    .writeHead(code, {
      "content-type": type,
      "cache-control": hashed ? "public, max-age=31536000, immutable" : "no-cache",
      vary: "accept-encoding",
      ...(isZipped ? { "content-encoding": "gzip" } : {}),
    })
    .end(isZipped ? zipped : body);
}

function sendJson(response: ServerResponse, code: number, value: object): void {
  response.writeHead(code, { "content-type": "application/json; charset=utf-8", "cache-control": "no-store" });
  response.end(`${JSON.stringify(value)}\n`);
}

function refuse(socket: Duplex, status: string, why: string): void {
  socket.on("error", () => socket.destroy());
  socket.end(
    `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: ${Buffer.byteLength(why)}\r\n\r\n${why}`,
  );
}

function explain(error: NodeJS.ErrnoException, { port, host }: PageServerOptions): Error {
  const where = `the port ${port} of the page at ${host}`;
  if (error.code === "EADDRINUSE")
    return new Error(`${where} is in use: set WORKER_CONSOLE_PORT to another one`, { cause: error });
  const setting = "set WORKER_CONSOLE_PORT to another one, or WORKER_CONSOLE_HOST to an address of this machine";
  return new Error(`${where} can't be opened (${error.code}): ${setting}`, { cause: error });
}
