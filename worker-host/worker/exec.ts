import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { WorkerHostError } from "../contract/errors.ts";
import { killGroup } from "./kill-group.ts";
import { AbortError, type Scope } from "./scope.ts";

export interface ExecOptions {
  /** The folder that it runs in; the worker's if not given. */
  cwd?: string;
  /** Written to its standard input, which is empty if not given. */
  input?: string;
  /** It is killed after so long, in ms. */
  timeoutMs?: number;
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

/** How long a program has to end by itself before it is killed. */
const GRACE_MS = 500;
const KEPT_CHARS = 65_536;
const MAX_LINE_CHARS = 4_096;

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
  // In a scope that has ended this rejects, or waits for ever, as every helper does.
  if (scope.ended) await scope.sleep(0);
  const { cwd = context.dir, input, timeoutMs } = options;
  if (!existsSync(cwd)) throw new WorkerHostError("invalid_value", `exec ${file}: there is no folder ${cwd}`);
  return scope.track(async () => {
    const child = spawn(file, words, {
      cwd,
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
    });
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
  /** Why it never ran. */
  failure?: NodeJS.ErrnoException;
  /** Why it was killed. */
  killedFor?: AbortError | "timeout";
}

function supervise(
  child: ChildProcess,
  scope: Scope,
  timeoutMs: number | undefined,
  { onGroup }: ExecContext,
): Promise<Ended> {
  const { pid } = child;
  const signalGroup = (signal: NodeJS.Signals) => {
    if (pid !== undefined) killGroup(pid, signal);
  };
  let killedFor: Ended["killedFor"];
  let cancelKill = () => {};
  const end = (reason: AbortError | "timeout") => {
    killedFor ??= reason;
    signalGroup("SIGTERM");
    cancelKill = scope.clock.after(GRACE_MS, () => signalGroup("SIGKILL"));
  };
  const forget = scope.whenEnded(() => end(new AbortError(`${child.spawnfile} was ended`)));
  const cancelTimeout = timeoutMs === undefined ? () => {} : scope.clock.after(timeoutMs, () => end("timeout"));
  if (pid !== undefined) onGroup(pid, true);
  return new Promise((resolve) => {
    let failure: NodeJS.ErrnoException | undefined;
    child.once("error", (error) => {
      failure = error;
    });
    // What it started must not outlive it, nor keep its output open.
    child.once("exit", () => signalGroup("SIGKILL"));
    child.once("close", (exitCode, signal) => {
      forget();
      cancelTimeout();
      cancelKill();
      if (pid !== undefined) onGroup(pid, false);
      resolve({ exitCode, signal, ...(failure ? { failure } : {}), ...(killedFor ? { killedFor } : {}) });
    });
  });
}

function errorOf(file: string, ended: Ended, { stderr }: ExecResult, timeoutMs?: number): Error | undefined {
  const { exitCode, signal, failure, killedFor } = ended;
  if (failure?.code === "ENOENT")
    return new ExecError("not_found", `there is no program "${file}" on this machine: install it, or give its path`);
  if (failure) return new ExecError("failed", `${file} can't be run: ${failure.message}`);
  if (killedFor === "timeout")
    return new ExecError("timeout", `${file} took longer than ${timeoutMs} ms`, exitCode, signal);
  if (killedFor) return killedFor;
  if (exitCode === 0) return undefined;
  const last = stderr.trimEnd().split("\n").at(-1);
  const how = signal ? `by ${signal}` : `with exit code ${exitCode}`;
  return new ExecError("failed", `${file} ended ${how}${last ? `: ${last}` : ""}`, exitCode, signal);
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
    this.#line = (lines.pop() ?? "").slice(0, MAX_LINE_CHARS);
    for (const line of lines) this.log(line.replace(/\r$/, "").slice(0, MAX_LINE_CHARS));
  }
}

/** The end of a text, from the start of a line where it is cut. */
function lastOf(text: string): string {
  if (text.length <= KEPT_CHARS) return text;
  const cut = text.slice(-KEPT_CHARS);
  return cut.slice(cut.indexOf("\n") + 1);
}
