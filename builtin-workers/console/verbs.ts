import { type Haunt, z } from "worker-host";
import { quote } from "worker-host/contract/command.ts";
import type { DeviceRole } from "worker-host/contract/devices.ts";
import { faultOfArgs, readPortrait } from "worker-host/contract/prop.ts";
import { CONSOLE, isPeer } from "worker-host/contract/topics.ts";

/** ms since this process started, on a clock that nothing sets: presses and ages are measured by it. */
export function now(): number {
  return performance.now();
}

/** One verb of the RPC. */
export interface Verb {
  role: DeviceRole;
  /** For people. */
  what: string;
  /** It is taken however often and however long it is. */
  always?: true;
  /** Its result may be long: a client has few of them under way, and reads each before it asks for more. */
  large?: true;
  kwargs: z.ZodType;
  run: (kwargs: unknown, caller: Caller) => unknown;
}

/** The client that sent a verb. */
export interface Caller {
  readonly role: DeviceRole;
  /** The name of the paired device; on this machine nobody is asked for one. */
  readonly device: string | undefined;
  /** From now on it is told of what changes. */
  watch(): void;
}

export interface VerbsOptions {
  haunt: Haunt;
  meta: { id: string; version: string };
  call: (id: string, action: string, args: unknown) => Promise<unknown>;
  /** Fulfils when all-stop is engaged, or was by that press; gives whether it is. */
  allStop: (press: string | undefined, by: string | undefined) => Promise<{ engaged: boolean }>;
  /** The last description that an id gave of itself. */
  descriptionOf: (id: string) => string | undefined;
  /** The last lines that a worker, or the host, has logged, for people. */
  log: (id: string, lines: number) => Promise<string[]>;
}

/** An older press is not meant any more: WiFi may deliver it seconds late. */
const OLDEST_PRESS_MS = 1_500;
const MOST_LINES = 1_000;
/** Of the id of a command or of a press, in letters. */
export const LONGEST_ID = 200;

const PRESSED_AT = z.number({
  error: "expected the moment of the press, in ms by the server's clock: what `hello` and a pong give as `now`",
});

const ofOne = { id: z.string() };

/** The registry: all that a client may ask for, by name. */
export function createVerbs(options: VerbsOptions): ReadonlyMap<string, Verb> {
  const { haunt, meta, call, allStop } = options;
  const verbs = new Map<string, Verb>();

  function add<Shape extends z.ZodRawShape>(
    name: string,
    role: DeviceRole,
    what: string,
    shape: Shape,
    run: (kwargs: z.infer<z.ZodObject<Shape>>, caller: Caller) => unknown,
  ): void {
    verbs.set(name, { role, what, kwargs: z.strictObject(shape), run: run as Verb["run"] });
  }

  /** One that acts: it carries the moment of its press. */
  function addAct<Shape extends z.ZodRawShape>(
    name: string,
    role: DeviceRole,
    what: string,
    shape: Shape,
    run: (kwargs: z.infer<z.ZodObject<Shape>>, caller: Caller) => unknown,
  ): void {
    add(name, role, what, { ...shape, pressed_at: PRESSED_AT }, (kwargs, caller) => {
      const { pressed_at, ...rest } = kwargs as { pressed_at: number };
      refuseOld(pressed_at);
      return run(rest as z.infer<z.ZodObject<Shape>>, caller);
    });
  }

  /** One that the host is told. */
  function addHosts<Shape extends z.ZodRawShape>(
    name: string,
    role: DeviceRole,
    what: string,
    shape: Shape,
    argsOf: (kwargs: z.infer<z.ZodObject<Shape>>, caller: Caller) => unknown = (kwargs) => kwargs,
  ): void {
    addAct(name, role, what, shape, (kwargs, caller) => {
      if ((kwargs as { id?: string }).id === CONSOLE && FROM_A_SHELL.has(name))
        throw new Error(`${name} of ${CONSOLE} would take this page away: do it from a shell`);
      return call(haunt.host, name, argsOf(kwargs, caller));
    });
  }

  add(
    "hello",
    "viewer",
    "Gives `haunt` (its prefix and host), your `role`, your name as a paired `device`, and the server's clock, `now`",
    {},
    (_, caller) => ({
      haunt,
      role: caller.role,
      device: caller.device,
      now: now(),
    }),
  );
  add("watch", "viewer", "From now on you get updates; the first has all that is known, `whole`", {}, (_, caller) =>
    caller.watch(),
  );
  add("uuid", "viewer", "Gives the id of this server, which stays", {}, () => meta.id);
  add("name", "viewer", "Gives the host's name", {}, () => haunt.host);
  add("get_meta", "viewer", "Gives `id` and `version`", {}, () => meta);
  add("get_runstate", "viewer", "Gives `running`", {}, () => "running");
  add("heartbeat", "viewer", "Does nothing", {}, () => undefined);
  add("list", "viewer", "Gives the host's workers and their states", {}, () => call(haunt.host, "list", undefined));
  add(
    "log",
    "operator",
    "Gives the last lines that a worker, or the host, has logged",
    { ...ofOne, lines: z.number().int().min(1).max(MOST_LINES).default(100) },
    ({ id, lines }) => {
      refuseNoId(id);
      return options.log(id, lines);
    },
  );
  addAct(
    "tell",
    "operator",
    "Sends a command to a prop, and gives what it returned",
    { ...ofOne, action: z.string(), args: z.unknown().optional() },
    ({ id, action, args }) => {
      refuseNoId(id);
      if (id === haunt.host || id === CONSOLE) throw new Error(`${id} takes no command by tell`);
      const { commands } = readPortrait(options.descriptionOf(id), id);
      const command = commands.find((one) => one.action === action);
      const fault = command && faultOfArgs(command, args);
      if (fault !== undefined) throw new Error(fault);
      return call(id, action, args);
    },
  );
  // Whoever sees that something goes wrong stops it.
  add(
    "all_stop",
    "viewer",
    "Engages all-stop; the result, `engaged`, comes when it is. A `press` that was taken in the last minute engages nothing anew, and gives whether it still is",
    // An odd one is none: all-stop is always taken.
    { press: z.string().max(LONGEST_ID).optional().catch(undefined) },
    ({ press }, { device }) => allStop(press, device),
  );
  addHosts("all_clear", "operator", "Ends all-stop", {}, (_, { device = "the page" }) => ({ by: device }));
  addHosts("lock_out", "operator", "Has a prop take no command but `stop`; gives who has heard it", {
    ...ofOne,
    reason: z.string().max(200).optional(),
  });
  addHosts("release", "operator", "Ends a prop's lock-out", ofOne);
  addHosts(
    "show",
    "operator",
    "While the show is `on`, edits wait",
    { show: z.enum(["on", "off"]) },
    ({ show }) => show,
  );
  addHosts("start_worker", "author", "Starts a worker that is stopped or has failed", ofOne);
  addHosts("stop_worker", "author", "Stops a worker, until it is started", ofOne);
  addHosts("restart_worker", "author", "Stops a worker, whatever it is doing, and starts it again", ofOne);
  addHosts("reload", "author", "Reads a worker's code and config anew, after its running commands", ofOne);
  addHosts("rescan", "author", "Looks at all files anew", {}, () => undefined);
  addHosts("configure", "author", "Changes keys in a worker's config file; null takes one out", {
    ...ofOne,
    config: z.record(z.string(), z.unknown()),
  });
  const log = verbs.get("log");
  if (log) log.large = true;
  const stop = verbs.get("all_stop");
  if (stop) stop.always = true;
  return verbs;
}

/** What of the console itself is taken from the command line only. */
const FROM_A_SHELL: ReadonlySet<string> = new Set(["lock_out", "stop_worker"]);

function refuseNoId(id: string): void {
  if (!isPeer(id)) throw new Error(`${quote(id)} is no prop's id`);
}

/** @throws Error for a press that is too old, or not yet made, by this process's clock */
function refuseOld(pressedAt: number): void {
  const age = now() - pressedAt;
  if (Math.abs(age) <= OLDEST_PRESS_MS) return;
  throw new Error(`${(age / 1000).toFixed(1)} s old; press again`);
}
