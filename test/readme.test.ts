import { spawn } from "node:child_process";
import { readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, onTestFinished, test } from "vitest";
import { Topics } from "../worker-host/contract/topics.ts";
import { BROKER } from "./harness/broker.ts";
import { TestClient } from "./harness/client.ts";
import { makeFolder, writeFiles } from "./harness/folder.ts";
import { cleanEnvironment, ROOT, runCli, startHost, type TestHost } from "./harness/host.ts";
import { linkedFolder } from "./harness/linked.ts";
import { Happenings, patiently } from "./harness/wait.ts";

const README = readFileSync(join(ROOT, "README.md"), "utf8");
const PROTOCOL = readFileSync(join(ROOT, "docs/protocol.md"), "utf8");
const PORTING = readFileSync(join(ROOT, "docs/porting-from-python.md"), "utf8");
const WRITING = readFileSync(join(ROOT, "docs/writing-a-worker.md"), "utf8");
const RECIPES = readFileSync(join(ROOT, "docs/recipes.md"), "utf8");

/** Commands of the README that a test can't run, each with the reason. */
const NOT_RUN: [command: RegExp, reason: string][] = [
  [/^npm ci$/, "the tests run in what it installed"],
  [/^npm cit$/, "it runs these tests"],
  [/^docker compose /, "there may be no Docker"],
  [/^(sudo apt|brew) install /, "it changes the machine"],
  [/^npm start -- --lan$/, "it opens a port to the network"],
  [/^MQTT_HOST=\S+ npm start$/, "there is no broker at that address"],
  [/^npx worker-host$/, "the program, not a command"],
  [/^npx worker-host (new prop <id>|check|doctor)$/, "new.test.ts, check.test.ts and doctor.test.ts run them"],
  [/^npx worker-host init$/, "test/install/package.test.ts runs it"],
  [/^npx worker-host simulate$/, "it needs a compiler: test/firmware/simulate.test.ts runs it"],
];

/** One thing that the README has its reader do or see, in its order. */
type Step =
  | { kind: "command"; line: string; answers: string[] }
  | { kind: "output"; lines: string[] }
  | { kind: "file"; path: string; text: string };

/** The code blocks, and the table rows that begin with a command. */
function stepsIn(markdown: string): Step[] {
  const steps: Step[] = [];
  const parts = markdown.split(/^```(\w+)\n([\s\S]*?)^```$/m);
  for (let i = 0; i < parts.length; i += 3) {
    const [prose = "", language, text = ""] = parts.slice(i, i + 3);
    steps.push(...prose.split("\n").flatMap(rowStep));
    const lines = text.split("\n").filter(Boolean);
    const commands = lines.flatMap((line) => line.split(" && "));
    if (language === "sh") steps.push(...commands.map((line): Step => ({ kind: "command", line, answers: [] })));
    else if (language === "text") steps.push({ kind: "output", lines });
    else if (language !== undefined) steps.push({ kind: "file", path: lastPathIn(prose), text });
  }
  return steps;
}

function rowStep(row: string): Step[] {
  if (!/^\| `(mosquitto_|npx |npm )/.test(row)) return [];
  const [line = "", ...answers] = codeIn(row);
  return [{ kind: "command", line, answers }];
}

function codeIn(markdown: string): string[] {
  return [...markdown.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code);
}

function lastPathIn(prose: string): string {
  const path = codeIn(prose).findLast((code) => /^props\/|\.yml$/.test(code));
  if (path === undefined) throw new Error(`which file is it? ${prose}`);
  return path;
}

/** A `mosquitto_sub`, and the lines `topic text` that it prints. */
interface Watch {
  /** A line as this one, past or to come; a number at its end may be another. */
  find(line: string): Promise<unknown>;
  /** This very line, to come. */
  next(line: string): Promise<unknown>;
}

const withoutNumber = (line: string) => line.replace(/\d+$/, "");

/** Somebody who does what the README says, line by line, in a clone of the repository. */
class Reader {
  readonly #folder = makeFolder();
  #host: TestHost | undefined;
  #port = 0;
  #watch: Watch | undefined;

  constructor() {
    for (const name of ["package.json", "node_modules", "dist", "worker-host"]) {
      symlinkSync(join(ROOT, name), join(this.#folder, name));
    }
  }

  async follow(step: Step): Promise<void> {
    if (step.kind === "file") writeFiles(this.#folder, { [step.path]: step.text });
    else if (step.kind === "output") await this.#expectOutput(step.lines);
    else await this.#run(step.line, step.answers);
  }

  async #expectOutput(lines: string[]): Promise<void> {
    await Promise.all(lines.map((line) => this.#watch?.find(line)));
  }

  async #run(line: string, answers: string[]): Promise<void> {
    if (NOT_RUN.some(([command]) => command.test(line))) return;
    const answered = Promise.all(answers.map((answer) => this.#watch?.next(answer)));
    const [program = "", ...words] = wordsOf(line);
    if (line === "npm start") await this.#start();
    else if (line.startsWith("npx worker-host ")) await this.#cli(words.slice(1));
    else if (program === "mkdir") await shell(line, this.#folder);
    else if (program === "mosquitto_sub") this.#watch = await this.#subscribe(line, words);
    else if (program === "mosquitto_pub") await this.#publish(line, words);
    else throw new Error(`this test doesn't know how to run "${line}": teach it, or say in NOT_RUN why not`);
    await answered;
  }

  /** Without its `prestart`, which would write the `dist/` that other tests are reading. */
  async #start(): Promise<void> {
    await this.#host?.stop();
    const command: [string, ...string[]] = ["npm", "start", "--ignore-scripts", "--"];
    this.#host = await startHost({ command, cwd: this.#folder, builtins: "shipped" });
    this.#port = await this.#host.port();
  }

  async #cli(args: string[]): Promise<void> {
    const env = { WORKER_BROKER_PORT: String(this.#port) };
    const { code, stdout, stderr } = await runCli(args, { cwd: this.#folder, env });
    expect(code, `${args.join(" ")}\n${stdout}${stderr}`).toBe(0);
  }

  async #subscribe(line: string, words: string[]): Promise<Watch> {
    if (BROKER === "mosquitto") return watchProgram(this.#withPort(line));
    const client = await TestClient.connect(`mqtt://127.0.0.1:${this.#port}`, [option(words, "-t")]);
    const partsOf = (line: string) => {
      const [topic = "", ...words] = line.split(" ");
      return { topic, text: words.join(" ") };
    };
    return {
      find: async (expected) => {
        const { topic, text } = partsOf(expected);
        while (withoutNumber(await client.expect(topic)) !== withoutNumber(text));
      },
      next: (expected) => client.expect(partsOf(expected).topic, partsOf(expected).text),
    };
  }

  async #publish(line: string, words: string[]): Promise<void> {
    if (BROKER === "mosquitto") return shell(this.#withPort(line), this.#folder);
    const client = await TestClient.connect(`mqtt://127.0.0.1:${this.#port}`, []);
    await client.publish(option(words, "-t"), option(words, "-m"));
    await client.close();
  }

  #withPort(line: string): string {
    return line.replace(/^mosquitto_\w+/, (program) => `exec ${program} -p ${this.#port}`);
  }
}

/** The words of a shell's line that quotes with `'` only. */
function wordsOf(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? "");
}

function option(words: string[], name: string): string {
  const value = words[words.indexOf(name) + 1];
  if (!words.includes(name) || value === undefined) throw new Error(`no ${name} in ${words.join(" ")}`);
  return value;
}

async function shell(line: string, cwd: string): Promise<void> {
  const child = spawn("sh", ["-c", line], { cwd, env: cleanEnvironment(), stdio: ["ignore", "inherit", "inherit"] });
  const code = new Promise((resolve) => child.once("close", resolve));
  expect(await patiently(code, () => line), line).toBe(0);
}

function watchProgram(line: string): Watch {
  const printed = new Happenings<string>();
  const child = spawn("sh", ["-c", line], { env: cleanEnvironment(), stdio: ["ignore", "pipe", "inherit"] });
  createInterface({ input: child.stdout }).on("line", (text) => printed.add(text));
  const ended = new Promise((resolve) => child.once("close", resolve));
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  return {
    find: (expected) => printed.find((text) => withoutNumber(text) === withoutNumber(expected), expected),
    next: (expected) => printed.next((text) => text === expected, expected),
  };
}

test("the README can be followed from its first command to its last", { timeout: 90_000 }, async () => {
  const steps = stepsIn(README);
  expect(steps.filter(({ kind }) => kind === "command").length).toBeGreaterThan(15);
  expect(steps.filter(({ kind }) => kind === "file").length).toBe(3);
  const reader = new Reader();
  for (const step of steps) await reader.follow(step);
});

test("a command in the README's text is one that its blocks have run, or that can't be run here", async () => {
  const lines = stepsIn(README).flatMap((step) => (step.kind === "command" ? [step.line] : []));
  const prose = README.split(/^```[\s\S]*?^```$/m).join("");
  const commands = codeIn(prose).filter((code) => /^(sudo|brew|npm|npx|docker |mosquitto_\w+ |[A-Z_]+=)/.test(code));
  for (const command of commands.filter((code) => !lines.includes(code))) {
    if (command.endsWith(" --help")) expect((await runCli(["--help"])).code).toBe(0);
    else expect(NOT_RUN.filter(([pattern]) => pattern.test(command), command).length, command).toBe(1);
  }
});

/** All that `Topics` builds, but for the filters of subscriptions. */
function topicsBuilt(prefix: string): string[] {
  const topics = new Topics(prefix);
  const built = Object.getOwnPropertyNames(Topics.prototype)
    .filter((name) => name !== "constructor")
    .map((name): unknown => {
      const value: unknown = Reflect.get(topics, name);
      return typeof value === "function" ? value.call(topics, "<id>", "<key>") : value;
    });
  return built.filter((topic) => typeof topic === "string").filter((topic) => !/[+#]/.test(topic));
}

test.each([
  ["docs/protocol.md", PROTOCOL, "<p>"],
  ["README.md", README, "halloween"],
])("the table of topics in %s names those that Topics builds, and no other", (_file, markdown, prefix) => {
  const rows = markdown.split("\n").filter((line) => line.startsWith(`| \`${prefix}/`));
  expect(rows.map((row) => codeIn(row)[0]).sort()).toEqual(topicsBuilt(prefix).sort());
});

/** Whatever the broker is: they know none. */
const testOnce = test.runIf(BROKER === "aedes");

testOnce("what the docs show of TypeScript compiles, and runs as a worker", async () => {
  const parts = `${PORTING}\n${README}\n${WRITING}\n${RECIPES}`.split(/^```ts\n([\s\S]*?)^```$/m);
  const blocks = parts.flatMap((text, index) => (index % 2 === 1 ? [{ text, prose: parts[index - 1] ?? "" }] : []));
  const workers = blocks.filter(({ text }) => text.includes("class Worker"));
  const shared = blocks.filter((block) => !workers.includes(block));
  expect(workers.length).toBeGreaterThanOrEqual(27);
  expect(shared.length).toBe(1);
  const folder = makeFolder({
    ...Object.fromEntries(workers.map(({ text }, index) => [`block_${index}/backend/worker.ts`, text])),
    ...Object.fromEntries(shared.map(({ text, prose }) => [lastPathIn(prose).replace(/^props\//, ""), text])),
    "package.json": '{ "type": "module" }',
    "tsconfig.json": JSON.stringify({
      extends: join(ROOT, "tsconfig.json"),
      compilerOptions: { typeRoots: [join(ROOT, "node_modules/@types")] },
      include: ["*/backend/*.ts", "_shared/*.ts"],
      exclude: [],
    }),
  });
  await shell(`'${join(ROOT, "node_modules/.bin/tsc")}' -p .`, folder);

  const host = await startHost({ args: ["--props", folder] });
  expect(await host.ready()).toMatchObject({ running: workers.length, failed: 0 });
});

testOnce("the test that the docs show passes for the shipped fogger", async () => {
  const [, text = ""] = /^```js\n([\s\S]*?)^```$/m.exec(WRITING) ?? [];
  const [, config = ""] = /`(export [^`]*worker-host\/vitest";)`/.exec(WRITING) ?? [];
  const folder = linkedFolder({
    "props/fogger/backend/worker.test.ts": text,
    "props/fogger/backend/worker.ts": readFileSync(join(ROOT, "props/fogger/backend/worker.ts"), "utf8"),
    "vitest.config.ts": config,
  });
  await shell("node node_modules/vitest/vitest.mjs run --reporter=dot", folder);
});
