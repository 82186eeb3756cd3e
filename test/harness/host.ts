import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { killIfThere } from "../../soak/processes.ts";
import type { TestBroker } from "./broker.ts";
import { atEnd } from "./ending.ts";
import { type Files, makeFolder } from "./folder.ts";
import { eachLine, Happenings, PATIENCE_MS, patiently } from "./wait.ts";

/** The repository's root. */
export const ROOT = new URL("../..", import.meta.url).pathname;
export const BIN = `${ROOT}worker-host/bin.cjs`;

/** A line of the host's log. */
export interface LogLine {
  level: number;
  msg: string;
  worker?: string;
  [key: string]: unknown;
}

export interface StartHostOptions {
  /** Files under the props folder, by path: `fogger/backend/worker.ts`. */
  props?: Files;
  /** Files of the builtins folder, or the ones that come with worker-host; none if not given. */
  builtins?: Files | "shipped";
  /** Of the ones that come with worker-host, the one that serves the page runs too, on a free port. */
  page?: true;
  /** The broker to use; without one the host runs its embedded one on a free port. */
  broker?: TestBroker;
  args?: string[];
  env?: Record<string, string>;
  /** The folder to run in; a fresh one otherwise. */
  cwd?: string;
  /** Don't wait until all workers are settled. */
  dontWait?: boolean;
  /** Instead of `node bin.cjs`. */
  command?: [string, ...string[]];
}

/** A worker-host in a process of its own, as a person starts it. */
export class TestHost {
  readonly log = new Happenings<LogLine>();
  readonly exit: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  stderr = "";
  stdout = "";

  constructor(
    readonly child: ChildProcess,
    /** The folder that it runs in. */
    readonly cwd: string,
  ) {
    if (!child.stdout || !child.stderr) throw new Error("no pipes");
    eachLine(child.stdout, (line) => {
      this.stdout += `${line}\n`;
      if (line.startsWith("{")) this.log.add(JSON.parse(line) as LogLine);
    });
    child.stderr.on("data", (data) => {
      this.stderr += String(data);
    });
    this.exit = new Promise((resolve) => child.once("close", (code, signal) => resolve({ code, signal })));
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error("it was not started");
    return this.child.pid;
  }

  /** Fulfils when every worker runs or has failed. */
  async ready(): Promise<LogLine> {
    const died = this.exit.then(({ code, signal }) => {
      throw new Error(`the host ended (${code ?? signal}): ${this.stderr}${this.stdout}`);
    });
    return Promise.race([this.logged("ready"), died]);
  }

  /** The first line of the log, past or to come, that is (or matches) `text`. */
  logged(text: string | RegExp): Promise<LogLine> {
    const matches = ({ msg }: LogLine) => (typeof text === "string" ? msg === text : text.test(msg));
    return this.log.find(matches, `the log line ${text}`);
  }

  /** The port of the embedded broker. */
  async port(): Promise<number> {
    return Number((await this.logged(/^the embedded broker listens/)).port);
  }

  /** The address of the page. */
  async page(): Promise<string> {
    return (await this.logged(/^Page: /)).msg.replace("Page: ", "");
  }

  async url(): Promise<string> {
    return `mqtt://127.0.0.1:${await this.port()}`;
  }

  /** Kills the processes that it started, in which its workers run. */
  killWorkers(): void {
    for (const pid of familyOf(this.pid).slice(1)) killIfThere(pid);
  }

  /** Signals its whole process group, as a terminal does. */
  signal(signal: NodeJS.Signals): void {
    if (this.child.exitCode === null && this.child.signalCode === null) process.kill(-this.pid, signal);
  }

  /** Stops it as Ctrl-C does, and waits for its end. */
  async stop(signal: NodeJS.Signals = "SIGINT"): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    this.signal(signal);
    return this.#ended();
  }

  /** Ends it and all that it started at once, as the end of a test does. */
  async kill(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null)
      for (const pid of familyOf(this.pid)) killIfThere(pid);
    await this.#ended();
  }

  #ended(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    return patiently(this.exit, () => `the host's end; it said:\n${this.stderr}${this.stdout}`);
  }
}

/** A process, and all that it and those started. Only Linux tells; elsewhere they end once they notice. */
function familyOf(pid: number): number[] {
  const list = `/proc/${pid}/task/${pid}/children`;
  const children = existsSync(list) ? readFileSync(list, "utf8").split(" ").filter(Boolean).map(Number) : [];
  return [pid, ...children.flatMap(familyOf)];
}

/** Starts a worker-host for one test, and ends it with the test. */
export async function startHost(options: StartHostOptions = {}): Promise<TestHost> {
  const cwd = options.cwd ?? makeFolder();
  const builtins = options.builtins === "shipped" ? undefined : makeFolder(options.builtins ?? {});
  const props = options.props ? makeFolder(options.props) : undefined;
  const [command, ...first] = options.command ?? [process.execPath, BIN];
  const args = [
    ...first,
    ...(options.broker ? [] : ["--broker-port", "0"]),
    ...(props ? ["--props", props] : []),
    ...(options.args ?? []),
  ];
  const env: Record<string, string | undefined> = {
    ...cleanEnvironment(),
    ...(options.broker ? { MQTT_HOST: "127.0.0.1", MQTT_PORT: String(options.broker.port) } : {}),
    ...(builtins ? { WORKER_BUILTINS_DIR: builtins, WORKER_ONLY_OWN_BUILTINS: "1" } : {}),
    ...(options.page ? { WORKER_CONSOLE_PORT: "0" } : builtins ? {} : { WORKER_BUILTINS_DISABLE: "console" }),
    // No test but those of the claim has another host of the same name.
    WORKER_CLAIM_MS: "50",
    ...options.env,
  };
  const child = spawn(command, args, { cwd, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  const host = new TestHost(child, cwd);
  atEnd(() => host.kill());
  if (!options.dontWait) await host.ready();
  return host;
}

/** This process's environment, without what would set the host up. */
export function cleanEnvironment(): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(MQTT_|WORKER_|LOG_LEVEL|NODE_OPTIONS|VITEST)/.test(name)),
  );
}

/** Runs the command line to its end; `takesMs` is what it waits for itself. */
export async function runCli(
  args: string[],
  options: {
    cwd?: string;
    env?: Record<string, string>;
    takesMs?: number;
    /** Instead of `node bin.cjs`. */
    command?: [string, ...string[]];
  } = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const cwd = options.cwd ?? makeFolder();
  const [command, ...first] = options.command ?? [process.execPath, BIN];
  const child = spawn(command, [...first, ...args], {
    cwd,
    env: { ...cleanEnvironment(), ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (data) => {
    stdout += String(data);
  });
  child.stderr.on("data", (data) => {
    stderr += String(data);
  });
  const code = new Promise<number | null>((resolve) => child.once("close", resolve));
  const what = () => `the end of ${args.join(" ")}: ${stdout}${stderr}`;
  return { code: await patiently(code, what, (options.takesMs ?? 0) + PATIENCE_MS), stdout, stderr };
}

/** Several command lines side by side, since most of the time of one goes into its start. */
export async function fourAtATime<Case>(cases: readonly Case[], run: (each: Case) => Promise<void>): Promise<void> {
  for (let at = 0; at < cases.length; at += 4) await Promise.all(cases.slice(at, at + 4).map(run));
}
