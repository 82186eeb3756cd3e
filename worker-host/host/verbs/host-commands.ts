import { z } from "zod";
import type { CommandSpec } from "../../commands/command-spec.ts";
import { WorkerHostError } from "../../contract/errors.ts";
import { type ConfigureOptions, configure } from "../config/configure.ts";
import type { WorkerRecord } from "../runners/records.ts";
import type { ShowNight } from "../safety/show-night.ts";

/** Adds a command that the host takes. */
export type AddCommand = (action: string, spec: CommandSpec, handler: (args: unknown) => unknown) => void;

export interface HostCommandsOptions extends ConfigureOptions {
  /** Publishes the host's description, soon with all that changes meanwhile, or now. */
  describe: () => void;
  describeNow: () => void;
  night: ShowNight;
}

/** One worker: `fogger`, or `{"id": "fogger"}`. */
const oneId = z
  .union([z.string(), z.strictObject({ id: z.string() })], { error: 'expected a worker\'s id, such as "fogger"' })
  .transform((one) => (typeof one === "string" ? one : one.id));

/** `fogger the hose leaks`, or `{"id": "fogger", "reason": "the hose leaks"}`. */
const lockOut = z
  .union([z.string(), z.strictObject({ id: z.string(), reason: z.string().optional() })], {
    error: 'expected a prop\'s id and why, such as "fogger the hose leaks"',
  })
  .transform((one) => {
    const { id, reason } = typeof one === "string" ? wordsOf(one) : one;
    return { id, reason: (reason || "no reason given").slice(0, 200) };
  });

function wordsOf(text: string): { id: string; reason?: string } {
  const [id = "", ...words] = text.trim().split(/\s+/);
  return { id, reason: words.join(" ") };
}

const configuration = z.strictObject(
  { id: z.string(), config: z.record(z.string(), z.unknown()) },
  {
    error:
      'expected a worker\'s id and what is new in its config, such as {"id": "fogger", "config": {"start_ms": 2000}}',
  },
);

/** Adds what the host does when it is told to, besides all-stop. */
export function addHostCommands(add: AddCommand, options: HostCommandsOptions): void {
  new HostCommands(add, options).addAll();
}

class HostCommands {
  constructor(
    private readonly add: AddCommand,
    private readonly options: HostCommandsOptions,
  ) {}

  addAll(): void {
    const { supervisor, live, describeNow, night } = this.options;
    this.add("list", { description: "Give all workers and their states" }, () => {
      describeNow();
      return supervisor.records.summaries();
    });
    this.add(
      "rescan",
      { description: "Look at all files anew: what is new, changed or gone takes effect, what failed tries again" },
      () => {
        night.refuseDuringShow("a rescan");
        return live.rescan();
      },
    );
    this.add(
      "reload",
      {
        description:
          "Read a worker's code and config anew and start it again, after its running commands; all without an id",
        args: oneId.optional(),
      },
      (id) => this.#reload(id as string | undefined),
    );
    this.#addForOne("start_worker", "Start a worker that is stopped or has failed", (id) => this.#start(id));
    this.#addForOne("stop_worker", "Stop a worker, until it is started or the host starts again", (id) =>
      this.#stop(id),
    );
    this.#addForOne("restart_worker", "Stop a worker, whatever it is doing, and start it again", (id) =>
      this.#restart(id, false),
    );
    this.add(
      "configure",
      { description: "Change keys in a worker's config file; null takes one out", args: configuration },
      (args) => {
        const { id, config } = args as z.infer<typeof configuration>;
        night.refuseDuringShow("a change of configs");
        return configure(id, config, this.options);
      },
    );
    this.#addShowNight();
  }

  #addShowNight(): void {
    const { night, describe } = this.options;
    this.add("show", { description: "While the show is on, edits wait", args: z.enum(["on", "off"]) }, async (word) => {
      const answer = night.setShow(word === "on");
      describe();
      return answer;
    });
    this.add(
      "lock_out",
      { description: "Have a prop take no command but stop until it is released", args: lockOut },
      async (args) => {
        const { id, reason } = args as z.infer<typeof lockOut>;
        const answer = night.lockOut(id, reason);
        describe();
        return answer;
      },
    );
    this.add("release", { description: "End a prop's lock-out", args: oneId }, async (id) => {
      await night.release(id as string);
      describe();
    });
  }

  #addForOne(action: string, description: string, handler: (id: string) => Promise<unknown>): void {
    this.add(action, { description, args: oneId }, (id) => handler(id as string));
  }

  async #reload(id: string | undefined): Promise<void> {
    this.options.night.refuseDuringShow("a reload");
    const chosen = id === undefined ? await this.options.live.inTurn(async () => this.#running) : [id];
    await Promise.all(chosen.map((one) => this.#restart(one, true)));
  }

  /** The ids of all that are to run. */
  get #running(): string[] {
    const { records } = this.options.supervisor;
    return records.all.filter(({ state, held }) => state !== "skipped" && !held).map(({ planned }) => planned.id);
  }

  async #start(id: string): Promise<void> {
    const { state } = this.options.supervisor.find(id);
    if (state !== "running" && state !== "starting") await this.#restart(id, false);
  }

  #stop(id: string): Promise<void> {
    const { supervisor, live } = this.options;
    return live.inTurn(async () => {
      const record = supervisor.find(id);
      refuseSkipped(record);
      await supervisor.halt(record);
      record.held = true;
    });
  }

  /** Builds it and starts it again; a fault in its code leaves the old one running. */
  async #restart(id: string, patient: boolean): Promise<void> {
    const { supervisor, live, night } = this.options;
    const record = await live.inTurn(async () => {
      // It may have been removed by what had its turn before.
      const found = supervisor.find(id);
      refuseSkipped(found);
      // During the show it is what ran before.
      const build = night.show && found.bundle !== undefined ? undefined : supervisor.build(found);
      const broken = found.planned.fault ?? (await build);
      if (broken !== undefined) throw new WorkerHostError("load_failed", broken);
      await supervisor.launch(found, { patient });
      return found;
    });
    await supervisor.records.settled(record);
    if (record.state === "failed") throw new WorkerHostError("load_failed", record.detail ?? "it failed");
  }
}

function refuseSkipped({ planned, state, detail }: WorkerRecord): void {
  if (state === "skipped") throw new WorkerHostError("invalid_id", `${planned.id} is not to run: ${detail}`);
}
