import { BOARD_BACK_MS, EDIT_MS, HOST_BACK_MS, OWN_BACK_MS, RUNNER_BACK_MS, WEDGE_MS } from "./bounds.ts";
import { BOARDS, COFFIN, HOST, SHARING, SOAK, type SoakWorker, WORKERS } from "./cast.ts";
import type { Editor } from "./files.ts";
import type { Haunt } from "./haunt.ts";
import type { Journals } from "./journals.ts";
import type { Happening, Hit, Need } from "./model/happenings.ts";
import type { Operator } from "./operator.ts";
import { killIfThere, runnersOf } from "./processes.ts";
import type { Deed } from "./schedule.ts";

export interface DeedsOptions {
  haunt: Haunt;
  editor: Editor;
  journals: Journals;
  operator: Operator;
  /** Whether somebody is still disturbed by what was done before. */
  disturbed: (who: string) => boolean;
  now: () => number;
  tell: (happening: Happening) => void;
}

/** How long a worker that was told to spin may hold up its process: the guard ends it before that. */
const WEDGED_MS = 8_000;
/** By then it is seen whether it was told. */
const UNWEDGED_MS = 1_000;

/** Does to the haunt what the schedule says, and tells the model in the moment before. */
export class Deeds {
  /** Boards that are cut off or stand still. */
  readonly #silent = new Map<string, "freeze_board" | "wifi_off">();
  #wedgedUntil = 0;

  constructor(private readonly options: DeedsOptions) {}

  /** Gives whether it was done; not where what it is done to isn't there. */
  async do(deed: Deed, who: string): Promise<boolean> {
    const { haunt, operator } = this.options;
    switch (deed) {
      case "edit_code":
      case "edit_config":
      case "break_code":
        return this.#edit(deed, workerOf(who));
      case "kill_runner":
        return this.#killShared();
      case "kill_own":
        return this.#killOwn(who);
      case "wedge":
        return this.#wedge(who);
      case "kill_host":
        return this.#killHost();
      case "start_host":
        return this.#startHost();
      case "stop_broker":
        return this.#endBroker("SIGTERM", deed);
      case "kill_broker":
        return this.#endBroker("SIGKILL", deed);
      case "start_broker":
        return this.#startBroker();
      case "everything":
        return this.#everything();
      case "all_stop":
      case "all_clear":
      case "reset_fault":
      case "arm":
        this.#note(deed);
        return operator.do(deed);
      case "press":
        this.#note(deed);
        return operator.press();
      case "release":
        return operator.release();
      case "scare":
        this.#note(deed);
        haunt.input(COFFIN, 1);
        setTimeout(() => haunt.input(COFFIN, 0), 1_000);
        return true;
      default:
        return this.#toBoard(deed, who);
    }
  }

  #note(what: string, hits: Hit[] = [], about?: string): void {
    const { tell, now } = this.options;
    tell({ at: now(), type: "fault", what, hits, ...(about === undefined ? {} : { about }) });
  }

  #edit(deed: "edit_code" | "edit_config" | "break_code", worker: SoakWorker): boolean {
    const { editor, tell, now, disturbed } = this.options;
    const { id, live } = worker;
    // What no compiler takes changes nothing: the old one runs on, undisturbed. One that is yet to start couldn't.
    if (deed === "break_code") {
      if (disturbed(id)) return false;
      this.#note(deed, [], id);
      editor.breakCode(worker);
      return true;
    }
    const at = now();
    const what = deed === "edit_code" ? "code" : "config";
    const edition = what === "code" ? editor.editCode(worker) : editor.editConfig(worker);
    const need: Need = { kind: what, edition };
    // A worker with `onConfig` isn't restarted.
    const hits = what === "config" && live ? [] : [{ who: id, need, backMs: EDIT_MS }];
    tell({ at, type: "fault", what: deed, hits, about: id });
    tell({ at, type: "edited", who: id, what, edition });
    return true;
  }

  /** The process that most of those share who are to share one. */
  #sharedRunner(): number | undefined {
    const { journals, haunt } = this.options;
    const running = haunt.host.pid === undefined ? [] : runnersOf(haunt.host.pid);
    const counts = new Map<number, number>();
    for (const id of SHARING) {
      const pid = journals.pids.get(id);
      if (pid !== undefined && running.includes(pid)) counts.set(pid, (counts.get(pid) ?? 0) + 1);
    }
    return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0];
  }

  /** Who is in the shared process: who said so, and who is on the way to it. */
  #inShared(pid: number, backMs: number, gone: boolean): Hit[] {
    const { journals, haunt } = this.options;
    const elsewhere = haunt.host.pid === undefined ? [] : runnersOf(haunt.host.pid).filter((other) => other !== pid);
    return SHARING.filter((id) => !elsewhere.includes(journals.pids.get(id) ?? -1)).map((who) => ({
      who,
      // Those that came with worker-host keep no journal.
      need: journals.pids.has(who) ? { kind: "life", notPid: pid } : { kind: "sign" },
      ...(gone && journals.pids.has(who) ? { gone: "closed" } : {}),
      backMs,
    }));
  }

  /** @param only the process that it has to be */
  #killShared(only?: number): boolean {
    const pid = this.#sharedRunner();
    if (pid === undefined || (only !== undefined && only !== pid)) return false;
    this.#note("kill_runner", this.#inShared(pid, RUNNER_BACK_MS, true));
    process.kill(pid, "SIGKILL");
    return true;
  }

  #killOwn(who: string): boolean {
    const { haunt, journals } = this.options;
    const pid = journals.pids.get(who);
    if (haunt.host.pid === undefined || pid === undefined || !runnersOf(haunt.host.pid).includes(pid)) return false;
    this.#note("kill_own", [{ who, need: { kind: "life", notPid: pid }, gone: "closed", backMs: OWN_BACK_MS }]);
    process.kill(pid, "SIGKILL");
    return true;
  }

  #wedge(who: string): boolean {
    const { operator, journals, now } = this.options;
    const pid = this.#sharedRunner();
    if (pid === undefined || journals.pids.get(who) !== pid || !operator.up) return false;
    this.#wedgedUntil = now() + WEDGED_MS;
    this.#note("wedge", this.#inShared(pid, WEDGE_MS, false));
    // What is refused under all-stop, or lost with the broker, holds up nobody: then the process is ended all the same.
    setTimeout(() => {
      if (!journals.spun.delete(who)) this.#killShared(pid);
    }, UNWEDGED_MS);
    return operator.tellWorker(who, "spin");
  }

  async #killHost(): Promise<boolean> {
    const { haunt, now } = this.options;
    const { pid } = haunt.host;
    if (pid === undefined) return false;
    const runners = runnersOf(pid);
    this.#note("kill_host", this.#allOfHost());
    const ended = haunt.host.end("SIGKILL");
    // One that is held up can't see that its host is gone (docs/operating.md). A container or a service ends them all.
    if (now() < this.#wedgedUntil) for (const runner of runners) killIfThere(runner);
    await ended;
    return true;
  }

  #allOfHost(): Hit[] {
    return [HOST, ...WORKERS].map((who) => ({ who, need: { kind: "start" }, gone: "closed" }));
  }

  #startHost(): boolean {
    const { haunt, editor, now, tell } = this.options;
    if (haunt.host.pid !== undefined) return false;
    // What doesn't build when a host starts doesn't run: its author mends it first.
    for (const worker of editor.broken) this.#edit("edit_code", worker);
    haunt.host.start();
    for (const who of [HOST, ...WORKERS]) tell({ at: now(), type: "started", who, backMs: HOST_BACK_MS });
    return true;
  }

  async #endBroker(signal: NodeJS.Signals, what: string): Promise<boolean> {
    const { haunt, now, tell } = this.options;
    if (haunt.broker.pid === undefined) return false;
    this.#note(what);
    tell({ at: now(), type: "broker_down" });
    await haunt.broker.end(signal);
    return true;
  }

  async #startBroker(): Promise<boolean> {
    const { haunt, now, tell } = this.options;
    if (haunt.broker.pid !== undefined) return false;
    await haunt.startBroker();
    tell({ at: now(), type: "broker_up" });
    return true;
  }

  async #everything(): Promise<boolean> {
    const { haunt, now, tell } = this.options;
    this.#note("everything", [
      ...(haunt.host.pid === undefined ? [] : this.#allOfHost()),
      ...BOARDS.map(({ id }): Hit => ({ who: id, need: { kind: "start" }, gone: "closed" })),
    ]);
    if (haunt.broker.pid !== undefined) tell({ at: now(), type: "broker_down" });
    const runners = haunt.host.pid === undefined ? [] : runnersOf(haunt.host.pid);
    const ended = [haunt.broker.end("SIGKILL"), haunt.host.end("SIGKILL")];
    for (const { id } of BOARDS) ended.push(this.#cutPower(id));
    for (const runner of runners) killIfThere(runner);
    await Promise.all(ended);
    return true;
  }

  #cutPower(id: string): Promise<number | null> {
    const { haunt, now, tell } = this.options;
    const { actuator } = BOARDS.find((board) => board.id === id) ?? {};
    this.#silent.delete(id);
    const ended = haunt.board(id).end("SIGKILL");
    if (actuator !== undefined) tell({ at: now(), type: "output", board: id, pin: actuator, value: 0 });
    return ended;
  }

  async #toBoard(deed: Deed, who: string): Promise<boolean> {
    const { haunt, now, tell } = this.options;
    const board = haunt.board(who);
    const silent = this.#silent.get(who);
    if (deed === "start_board") {
      if (board.pid !== undefined) return false;
      board.start();
    } else if (deed === "thaw_board" || deed === "wifi_on") {
      if (silent !== (deed === "thaw_board" ? "freeze_board" : "wifi_off")) return false;
      this.#silent.delete(who);
      if (deed === "thaw_board") board.signal("SIGCONT");
      else board.tell({ wifi: true });
    } else return this.#disturbBoard(deed, who);
    tell({ at: now(), type: "started", who, backMs: BOARD_BACK_MS });
    return true;
  }

  async #disturbBoard(deed: Deed, who: string): Promise<boolean> {
    const { haunt, now, tell } = this.options;
    const board = haunt.board(who);
    const silent = this.#silent.has(who);
    if (board.pid === undefined || (silent && deed !== "kill_board")) return false;
    const ending = deed === "freeze_board" || deed === "wifi_off" ? "half_open" : "closed";
    this.#note(deed, [{ who, need: { kind: "start" }, gone: ending }]);
    if (deed === "kill_board") await this.#cutPower(who);
    else if (deed === "reset_board") {
      board.tell({ reset: true });
      tell({ at: now(), type: "started", who, backMs: BOARD_BACK_MS });
    } else {
      this.#silent.set(who, deed as "freeze_board" | "wifi_off");
      if (deed === "freeze_board") board.signal("SIGSTOP");
      else board.tell({ wifi: false });
    }
    return true;
  }
}

function workerOf(who: string): SoakWorker {
  const worker = SOAK.find(({ id }) => id === who);
  if (!worker) throw new Error(`there is no soak worker ${who}`);
  return worker;
}
