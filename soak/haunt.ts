import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { canConnect } from "../bench/ports.mjs";
import { BOARDS, type BoardRole, BUTTON, INPUT_PIN } from "./cast.ts";
import { Daemon } from "./daemon.ts";
import { type Folder, writeBrokerConfig } from "./files.ts";
import type { Happening } from "./model/happenings.ts";
import { killIfThere, runnersOf } from "./processes.ts";

export interface HauntOptions {
  /** The repository's folder. */
  root: string;
  folder: Folder;
  props: string;
  port: number;
  env: Record<string, string | undefined>;
  now: () => number;
  tell: (happening: Happening) => void;
}

/** The broker, the host and the boards: processes of this machine, as a haunt has them on several. */
export class Haunt {
  readonly broker: Daemon;
  readonly host: Daemon;
  readonly boards: ReadonlyMap<string, Daemon>;
  /** The folder in which each process of the host says what is on its heap. */
  readonly #heaps: string;

  constructor(private readonly options: HauntOptions) {
    this.#heaps = options.folder.in("heaps");
    this.broker = this.#makeBroker();
    this.host = this.#makeHost();
    this.boards = new Map(BOARDS.map((role) => [role.id, this.#makeBoard(role)]));
  }

  #daemon(name: string, command: string, args: string[], rest: object): Daemon {
    const { env, folder, now, tell } = this.options;
    const fail = (how: string) => tell({ at: now(), type: "failed", who: name, how });
    const onEnded = (how: string) => fail(`it ended, ${how}`);
    // What is wrong goes to a log, or to a board's serial port.
    const onError = (line: string) => fail(`it wrote to its standard error: ${line}`);
    return new Daemon({ command, args, cwd: folder.path, env, onEnded, onError, ...rest });
  }

  #makeBroker(): Daemon {
    const { root, folder, port } = this.options;
    return this.#daemon("the broker", "mosquitto", ["-c", writeBrokerConfig(root, folder.in("broker"), port)], {
      // Its log.
      onError: () => {},
    });
  }

  #makeHost(): Daemon {
    const { root, folder, props, port, env, now, tell } = this.options;
    const args = [
      join(root, "worker-host/bin.cjs"),
      ...["--props", props, "--data", folder.in("data"), "--disable-all-builtins"],
      ...["--mqtt-host", "127.0.0.1", "--mqtt-port", String(port)],
    ];
    return this.#daemon("the host", process.execPath, args, {
      env: {
        ...env,
        NODE_OPTIONS: `--require ${JSON.stringify(join(root, "soak/collect.cjs"))}`,
        SOAK_HEAPS: this.#heaps,
      },
      onLine: (line: string) => tell(logged(line, now())),
    });
  }

  #makeBoard({ sketch, id }: BoardRole): Daemon {
    const { root, folder, port, env, now, tell } = this.options;
    const program = join(root, "build/firmware/none", sketch);
    if (!existsSync(program)) throw new Error(`${program} is not there: make -C props/lib/host all`);
    return this.#daemon(id, program, [], {
      env: {
        PATH: env.PATH,
        ...{ MQTT_HOST: "127.0.0.1", MQTT_PORT: String(port), HOST_NVS: folder.in(`boards/${id}`), HOST_STDIN: "hold" },
        // Nobody is in front of the coffin, the heater is warm, nobody presses the button.
        HOST_INPUTS: `${INPUT_PIN}=0`,
      },
      onLine: (line: string) => {
        const { pin, value, reset } = JSON.parse(line) as { pin?: number; value?: number; reset?: string };
        const { actuator } = BOARDS.find((each) => each.id === id) ?? {};
        // A chip that is reset lets its outputs float, and their resistors pull them off.
        const off = reset !== undefined && actuator !== undefined;
        if (off) tell({ at: now(), type: "output", board: id, pin: actuator, value: 0 });
        else if (pin !== undefined && pin === actuator && value !== undefined)
          tell({ at: now(), type: "output", board: id, pin, value });
      },
    });
  }

  /** What a collection last left on the heap of the host, or of one of its processes, once there was one. */
  heapOf(pid: number): { heapMb?: number } {
    const path = join(this.#heaps, String(pid));
    const bytes = existsSync(path) ? Number(readFileSync(path, "utf8")) : 0;
    return bytes > 0 ? { heapMb: bytes / 1_048_576 } : {};
  }

  board(id: string): Daemon {
    const board = this.boards.get(id);
    if (!board) throw new Error(`there is no board ${id}`);
    return board;
  }

  /** Sets an input of a board. */
  input(id: string, value: 0 | 1): void {
    this.board(id).tell({ pin: INPUT_PIN, value });
  }

  press(pressed: boolean): void {
    this.input(BUTTON, pressed ? 1 : 0);
  }

  /** Starts the broker; fulfils when it takes connections. */
  async startBroker(): Promise<void> {
    this.broker.start();
    while (this.broker.pid !== undefined && !(await canConnect(this.options.port))) await pause(20);
  }

  /** Ends everything at once, a process of workers that is held up too. */
  killAll(): void {
    for (const pid of this.host.pid === undefined ? [] : runnersOf(this.host.pid)) killIfThere(pid);
    for (const daemon of [this.host, ...this.boards.values(), this.broker]) daemon.signal("SIGKILL");
  }
}

function logged(line: string, at: number): Happening {
  if (!line.startsWith("{")) return { at, type: "log", level: 30, text: line };
  const { level, msg, worker } = JSON.parse(line) as { level: number; msg: string; worker?: string };
  return { at, type: "log", level, text: msg, ...(worker === undefined ? {} : { worker }) };
}

export const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
