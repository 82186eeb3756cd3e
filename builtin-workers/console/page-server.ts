import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { gzipSync } from "node:zlib";
import { type WebSocket, WebSocketServer } from "ws";
import { Seats } from "./seats.ts";

export interface PageServerOptions {
  port: number;
  host: string;
  /** The folder of the built page. */
  folder: string;
  /** Fulfils when all-stop is engaged. */
  allStop: () => Promise<void>;
  onSocket: (socket: WebSocket) => void;
}

interface PageFile {
  type: string;
  body: Buffer;
  zipped: Buffer;
  /** Its name changes with what is in it. */
  hashed: boolean;
}

const RPC = "/rpc/";
const ALL_STOP = "/api/all_stop";
const LONGEST_FRAME = 1_048_576;
const MOST_CONNECTIONS = 200;
const SLOW_MS = 10_000;
const PORTION_BYTES = 256;

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

/** The names by which a browser on this machine may call it. Any other is a web page that a name server points here. */
const OWN_NAMES = /^(127\.\d+\.\d+\.\d+|\[::1\]|localhost)(:\d+)?$/;

/**
 * Serves the page's files, which are read once, all-stop beside the socket, and the sockets of the RPC. By Node's own server:
 * it has a handful of paths, and a framework takes half a second to load.
 */
export class PageServer {
  readonly #server = createServer((request, response) => this.#answer(request, response));
  readonly #sockets = new WebSocketServer({ noServer: true, maxPayload: LONGEST_FRAME, perMessageDeflate: false });

  readonly seats = new Seats();
  /** The connections whose last request is not answered yet, or whose answer is not taken. */
  readonly #busy = new WeakSet<Duplex>();
  readonly #portions = new WeakMap<Duplex, () => void>();
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
    server.on("connection", (socket) => this.#portions.set(socket, parseInPortions(socket)));
    server.on("upgrade", (request, socket, head) => {
      this.#portions.get(socket)?.();
      this.#upgrade(request, socket, head);
    });
    server.listen({ port, host });
    try {
      await once(server, "listening");
    } catch (error) {
      throw explain(error as NodeJS.ErrnoException, this.options);
    }
    const { address, family, port: given } = server.address() as AddressInfo;
    return `http://${family === "IPv6" ? `[${address}]` : address}:${given}`;
  }

  /** Closes the port, and all that is connected to it. */
  async stop(): Promise<void> {
    for (const socket of this.#sockets.clients) socket.close(1001, "the console is stopping");
    this.#sockets.close();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    for (const socket of this.#sockets.clients) socket.terminate();
    await closed;
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
    const why = whyForeign(request);
    // No body is read.
    request.resume();
    if (why !== undefined) sendJson(response, 403, { error: why });
    else if (path === ALL_STOP) this.#stopAll(request, response);
    else if (!file) sendJson(response, 404, { error: "nothing is here" });
    else if (request.method !== "GET") sendJson(response, 405, { error: "only GET" });
    else sendFile(response, file, request.headers["accept-encoding"]);
  }

  #stopAll({ method }: IncomingMessage, response: ServerResponse): void {
    if (method !== "POST") {
      sendJson(response, 405, { error: "only POST" });
      return;
    }
    this.options.allStop().then(
      () => sendJson(response, 200, { engaged: true }),
      (error: Error) => sendJson(response, 503, { error: error.message }),
    );
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const why = whyForeign(request);
    if (why !== undefined) refuse(socket, "403 Forbidden", why);
    else if (request.url?.split("?")[0] !== RPC) refuse(socket, "404 Not Found", `the RPC is at ${RPC}`);
    else if (!this.seats.makeRoom()) refuse(socket, "503 Service Unavailable", "too many pages are open: close one");
    else
      this.#sockets.handleUpgrade(request, socket, head, (opened) => {
        this.seats.take(opened);
        this.options.onSocket(opened);
      });
  }
}

/**
 * Has the requests of a connection parsed in small portions, and none once it is destroyed: what is read at once may hold 1,700
 * of them. Gives what ends it.
 */
function parseInPortions(socket: Socket): () => void {
  const push = socket.push.bind(socket);
  socket.push = (bytes: Buffer | null) => {
    if (bytes === null) return push(bytes);
    let wantsMore = true;
    for (let at = 0; at < bytes.length && !socket.destroyed; at += PORTION_BYTES)
      wantsMore = push(bytes.subarray(at, at + PORTION_BYTES));
    return wantsMore;
  };
  // Node's parser reads past a socket's `push`, unless somebody else reads it too.
  const read = () => {};
  socket.on("data", read);
  return () => {
    socket.off("data", read);
    socket.push = push;
  };
}

/** Why a request is not one of our own page's, or of a program on this machine; browsers always say where they are. */
function whyForeign({ method, headers }: IncomingMessage): string | undefined {
  const { host, origin, "sec-fetch-site": from = "none" } = headers;
  if (host === undefined || !OWN_NAMES.test(host)) return "this page is opened by its own address only";
  // A link of another page may lead here.
  const isOwn = method === "GET" || from === "same-origin" || from === "none";
  if (!isOwn || (origin !== undefined && origin !== `http://${host}`)) return "another page may not reach this one";
  return undefined;
}

/** The files of the page by their paths. */
function readFiles(folder: string): ReadonlyMap<string, PageFile> {
  const files = readdirSync(folder).map((name): [string, PageFile] => {
    const body = readFileSync(join(folder, name));
    const type = TYPES[name.replace(/^.*\./, "")] ?? "application/octet-stream";
    return [
      name === "index.html" ? "/" : `/${name}`,
      { type, body, zipped: gzipSync(body), hashed: name !== "index.html" },
    ];
  });
  return new Map(files);
}

function sendFile(
  response: ServerResponse,
  { type, body, zipped, hashed }: PageFile,
  accepted: string | string[] = "",
) {
  const isZipped = /\bgzip\b/.test(String(accepted));
  response
    .writeHead(200, {
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
  const setting = "set WORKER_CONSOLE_PORT to another one";
  if (error.code === "EADDRINUSE") return new Error(`${where} is in use: ${setting}`, { cause: error });
  return new Error(`${where} can't be opened (${error.code}): ${setting}`, { cause: error });
}
