import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { pino } from "pino";
import { onTestFinished } from "vitest";
import { EmbeddedBroker } from "../../worker-host/host/broker.ts";
import { makeFolder } from "./folder.ts";

/** Which broker the suite runs against: the embedded one (aedes), or with `TEST_BROKER=mosquitto` a real mosquitto. */
export const BROKER: "aedes" | "mosquitto" = process.env.TEST_BROKER === "mosquitto" ? "mosquitto" : "aedes";

export interface BrokerUser {
  username: string;
  password: string;
}

export interface TestBroker {
  readonly port: number;
  readonly url: string;
  start(): Promise<void>;
  /** Ends it as a crash would. */
  stop(): Promise<void>;
}

/** A broker of its own for one test, running. */
export async function startBroker(options: { user?: BrokerUser } = {}): Promise<TestBroker> {
  const port = await freePort();
  const broker = BROKER === "mosquitto" ? new Mosquitto(port, options.user) : new Embedded(port, options.user);
  await broker.start();
  onTestFinished(() => broker.stop());
  return broker;
}

/** A port of 127.0.0.1 that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

class Embedded implements TestBroker {
  #broker: EmbeddedBroker | undefined;

  constructor(
    readonly port: number,
    private readonly user: BrokerUser | undefined,
  ) {}

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const credentials = this.user ? { credentials: this.user } : {};
    this.#broker = await EmbeddedBroker.start({
      port: this.port,
      lan: false,
      ...credentials,
      log: pino({ level: "silent" }),
    });
  }

  async stop(): Promise<void> {
    const broker = this.#broker;
    this.#broker = undefined;
    await broker?.stop();
  }
}

class Mosquitto implements TestBroker {
  readonly #folder: string;
  #child: ChildProcess | undefined;

  constructor(
    readonly port: number,
    private readonly user: BrokerUser | undefined,
  ) {
    this.#folder = makeFolder();
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    await this.#writeConfig();
    this.#child = spawn("mosquitto", ["-c", join(this.#folder, "mosquitto.conf")], { stdio: "ignore" });
    while (!(await canConnect(this.port))) await new Promise((resolve) => setTimeout(resolve, 10));
  }

  async #writeConfig(): Promise<void> {
    const passwords = join(this.#folder, "passwords");
    const access = this.user ? ["allow_anonymous false", `password_file ${passwords}`] : ["allow_anonymous true"];
    const config = [`listener ${this.port} 127.0.0.1`, "set_tcp_nodelay true", "user root", ...access, ""].join("\n");
    writeFileSync(join(this.#folder, "mosquitto.conf"), config);
    if (!this.user) return;
    writeFileSync(passwords, `${this.user.username}:${this.user.password}\n`);
    await once(spawn("mosquitto_passwd", ["-U", passwords]), "exit");
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    this.#child = undefined;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
  }
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
