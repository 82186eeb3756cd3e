import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { msOf, type Span } from "../base/clock.ts";
import { killGroup } from "../base/kill-group.ts";
import type { Scope } from "../base/scope.ts";
import { AbortError } from "../base/scope-owner.ts";
import { WorkerHostError } from "../contract/errors.ts";
import { EXEC_GRACE_MS, MAX_EXEC_CHARS, MAX_EXEC_LINE_CHARS } from "./limits.ts";

export interface ExecOptions {
  /** The folder that it runs in; the worker's if not given. */
  cwd?: string;
  /** Written to its standard input, which is empty if not given. */
  input?: string;
  /** It is killed after so long, in ms. */
  timeoutMs?: Span;
  /** It moves nothing: it is run also while all-stop or a lock-out holds. */
  safe?: boolean;
}

/** What a program wrote: the last 64 KiB of each. */
export interface ExecResult {
  stdout: string;
  stderr: string;
}

/**
 * Why a program did not do its work: `not_found` (there is no such program), `failed` (it ended with an exit code other
 * than 0, or by a signal) or `timeout`.
 */
export class ExecError extends Error {
  override readonly name = "ExecError";

  constructor(
    readonly code: "not_found" | "failed" | "timeout",
    message: string,
    readonly exitCode: number | null = null,
    readonly signal: NodeJS.Signals | null = null,
  ) {
    super(message);
  }
}

export interface ExecContext {
  /** The folder that it runs in, if the options say nothing. */
  dir: string;
  /** Gets each line that it writes. */
  log: (line: string) => void;
  /** Told of the process group that it is, and of its end. */
  onGroup: (pid: number, alive: boolean) => void;
}

/** How long its output may stay open when all that can be killed is. */
const LET_GO_MS = 100;

/**
 * Runs a program without a shell, in a process group of its own, which ends with the scope.
 *
 * @throws ExecError; AbortError when the scope ended; WorkerHostError `invalid_value`
 */
export async function execIn(
  scope: Scope,
  file: string,
  args: readonly (string | number)[],
  options: ExecOptions,
  context: ExecContext,
): Promise<ExecResult> {
  const words = wordsOf(file, args);
  const { cwd = context.dir, input } = options;
  const timeoutMs = timeoutOf(file, options);
  // In a scope that has ended this rejects, or waits for ever, as every helper does.
  if (scope.ended) await scope.sleep(0);
  scope.move("exec");
  if (!existsSync(cwd)) throw new WorkerHostError("invalid_value", `exec ${file}: there is no folder ${cwd}`);
  return scope.track(async () => {
    const child = launch(file, words, cwd);
    if (!runs(child)) throw await whyNot(file, child);
    const stdout = new Output(child.stdout, context.log);
    const stderr = new Output(child.stderr, context.log);
    // It may end without having read what it is told.
    child.stdin.on("error", () => {});
    child.stdin.end(input);
    const ended = await supervise(child, scope, timeoutMs, context);
    const result = { stdout: stdout.end(), stderr: stderr.end() };
    const error = errorOf(file, ended, result, timeoutMs);
    if (error) throw error;
    return result;
  });
}

/** How a program ended. */
interface Ended {
  exitCode: number | null;
  signal: NodeJS.Signals | null;
  /** Why it was killed. */
  killedFor?: AbortError | "timeout";
}

type Child = ChildProcessWithoutNullStreams;
type Running = Child & { pid: number };

function launch(file: string, words: string[], cwd: string): Child {
  try {
    return spawn(file, words, { cwd, detached: true, stdio: ["pipe", "pipe", "pipe"] });
  } catch (error) {
    throw cantRun(file, error as NodeJS.ErrnoException);
  }
}

/** Where it doesn't, it may lack its streams, too (EMFILE), and never be closed. */
function runs(child: Child): child is Running {
  return child.pid !== undefined;
}

function whyNot(file: string, child: Child): Promise<ExecError> {
  return new Promise((resolve) => child.once("error", (error) => resolve(cantRun(file, error))));
}

function cantRun(file: string, { code, message }: NodeJS.ErrnoException): ExecError {
  if (code !== "ENOENT") return new ExecError("failed", `${file} can't be run: ${message}`);
  return new ExecError("not_found", `there is no program "${file}" on this machine: install it, or give its path`);
}

function supervise(child: Running, scope: Scope, timeoutMs: number | undefined, context: ExecContext): Promise<Ended> {
  const { pid } = child;
  const { clock } = scope;
  let killedFor: Ended["killedFor"];
  let exited = false;
  let cancelKill = () => {};
  let cancelClose = () => {};
  const signalGroup = (signal: NodeJS.Signals) => {
    if (!killGroup(pid, signal)) context.log(`${signal} is not permitted: it runs as another user`);
  };
  const kill = () => {
    signalGroup("SIGKILL");
    // Who left its group (a daemon, by setsid) may hold its output open for ever. What is in the pipe is read first.
    const letGo = () => [child.stdout, child.stderr].forEach((stream) => void stream.destroy());
    cancelClose = clock.after(LET_GO_MS, () => setImmediate(letGo));
  };
  const end = (reason: AbortError | "timeout") => {
    if (killedFor || (exited && reason === "timeout")) return;
    killedFor = reason;
    if (exited) return;
    signalGroup("SIGTERM");
    cancelKill = clock.after(EXEC_GRACE_MS, kill);
  };
  const forget = scope.whenEnded(() => end(new AbortError(`${child.spawnfile} was ended`)));
  const cancelTimeout = timeoutMs === undefined ? () => {} : clock.after(timeoutMs, () => end("timeout"));
  context.onGroup(pid, true);
  return new Promise((resolve) => {
    child.once("exit", () => {
      exited = true;
      // What it started must not outlive it, nor keep its output open; after our SIGTERM it has its time to end, too.
      if (!killedFor) kill();
    });
    child.once("close", (exitCode, signal) => {
      forget();
      cancelTimeout();
      cancelKill();
      cancelClose();
      // Those whose output went elsewhere.
      signalGroup("SIGKILL");
      context.onGroup(pid, false);
      resolve({ exitCode, signal, ...(killedFor ? { killedFor } : {}) });
    });
  });
}

function errorOf(file: string, ended: Ended, { stderr }: ExecResult, timeoutMs?: number): Error | undefined {
  const { exitCode, signal, killedFor } = ended;
  if (killedFor === "timeout")
    return new ExecError("timeout", `${file} took longer than ${timeoutMs} ms`, exitCode, signal);
  if (killedFor) return killedFor;
  if (exitCode === 0) return undefined;
  const last = stderr.trimEnd().split("\n").at(-1);
  const how = signal ? `by ${signal}` : `with exit code ${exitCode}`;
  return new ExecError("failed", `${file} ended ${how}${last ? `: ${last}` : ""}`, exitCode, signal);
}

function timeoutOf(file: string, { input, timeoutMs }: ExecOptions): number | undefined {
  if (input !== undefined && typeof input !== "string")
    throw new WorkerHostError("invalid_value", `exec ${file}: expected a text as input, got ${typeof input}`);
  return timeoutMs === undefined ? undefined : msOf(`exec ${file}: timeoutMs is %`, timeoutMs, Number.MAX_VALUE);
}

function wordsOf(file: string, args: readonly (string | number)[]): string[] {
  const refuse = (text: string): never => {
    throw new WorkerHostError("invalid_value", `exec: ${text}`);
  };
  if (typeof file !== "string" || file === "" || file.includes("\0"))
    refuse(`expected a program, got ${JSON.stringify(file)}`);
  if (!Array.isArray(args)) refuse(`expected a list of arguments, got ${JSON.stringify(args)}`);
  return args.map((arg) => {
    if (typeof arg !== "string" && typeof arg !== "number")
      return refuse(`expected texts as arguments, got ${typeof arg}`);
    const word = String(arg);
    return word.includes("\0") ? refuse("an argument has a NUL byte in it") : word;
  });
}

/** What a program writes to one of its streams: logged by the line, and its end kept. */
class Output {
  readonly #decoder = new StringDecoder("utf8");
  #kept = "";
  #line = "";

  constructor(
    stream: Readable,
    private readonly log: (line: string) => void,
  ) {
    stream.on("data", (bytes: Buffer) => this.#take(this.#decoder.write(bytes)));
  }

  end(): string {
    this.#take(this.#decoder.end());
    if (this.#line !== "") this.log(this.#line);
    return this.#kept;
  }

  #take(text: string): void {
    this.#kept = lastOf(this.#kept + text);
    const lines = (this.#line + text).split("\n");
    this.#line = (lines.pop() ?? "").slice(0, MAX_EXEC_LINE_CHARS);
    for (const line of lines) this.log(line.replace(/\r$/, "").slice(0, MAX_EXEC_LINE_CHARS));
  }
}

/** The end of a text, from the start of a line where it is cut. */
function lastOf(text: string): string {
  if (text.length <= MAX_EXEC_CHARS) return text;
  const cut = text.slice(-MAX_EXEC_CHARS);
  return cut.slice(cut.indexOf("\n") + 1);
}
