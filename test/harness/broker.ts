import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pino } from "pino";
import { canConnect, freePort } from "../../bench/ports.mjs";
import { systemClock } from "../../worker-host/base/clock.ts";
import { EmbeddedBroker } from "../../worker-host/host/broker/broker.ts";
import { atEnd } from "./ending.ts";
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

export interface TestBrokerOptions {
  /** The only one to be let in; everybody if not given. */
  user?: BrokerUser;
  /** mosquitto saves what is retained at each change, for its next start. The embedded broker can't. */
  persistent?: boolean;
  /** A free one if not given. */
  port?: number;
  /** The longest packet that mosquitto takes; the embedded one has a limit of its own. */
  maxPacketBytes?: number;
}

/** A broker of its own for one test, running. */
export async function startBroker(options: TestBrokerOptions = {}): Promise<TestBroker> {
  const port = options.port ?? (await freePort());
  const broker = BROKER === "mosquitto" ? new Mosquitto(port, options) : new Embedded(port, options.user);
  await broker.start();
  atEnd(() => broker.stop());
  return broker;
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
      maxConnections: 4000,
      log: pino({ level: "silent" }),
      clock: systemClock,
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
  #exited: Promise<boolean> = Promise.resolve(true);

  constructor(
    readonly port: number,
    private readonly options: TestBrokerOptions,
  ) {
    this.#folder = makeFolder();
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    await this.#writeConfig();
    const child = spawn("mosquitto", ["-c", join(this.#folder, "mosquitto.conf")], { stdio: "ignore" });
    this.#child = child;
    this.#exited = once(child, "exit").then(() => true);
    while (!(await canConnect(this.port))) {
      const over = await Promise.race([this.#exited, new Promise((resolve) => setTimeout(resolve, 10))]);
      if (over) throw new Error(`mosquitto did not start on port ${this.port}`);
    }
  }

  async #writeConfig(): Promise<void> {
    const passwords = join(this.#folder, "passwords");
    const { user, persistent, maxPacketBytes } = this.options;
    const access = user ? ["allow_anonymous false", `password_file ${passwords}`] : ["allow_anonymous true"];
    const saving = ["persistence true", `persistence_location ${this.#folder}/`, "autosave_on_changes true"];
    const config = [
      `listener ${this.port} 127.0.0.1`,
      "set_tcp_nodelay true",
      "user root",
      ...access,
      ...(maxPacketBytes === undefined ? [] : [`max_packet_size ${maxPacketBytes}`]),
      ...(persistent ? [...saving, "autosave_interval 1"] : []),
      "",
    ];
    writeFileSync(join(this.#folder, "mosquitto.conf"), config.join("\n"));
    if (!user) return;
    writeFileSync(passwords, `${user.username}:${user.password}\n`);
    await once(spawn("mosquitto_passwd", ["-U", passwords]), "exit");
  }

  async stop(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    child?.kill("SIGKILL");
    await this.#exited;
  }
}
