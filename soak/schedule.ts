import { HALF_OPEN_MS, MEMORY_FROM_MS } from "./bounds.ts";
import { BOARDS, SOAK } from "./cast.ts";
import { Dice } from "./dice.ts";

/** What the sender does about a command's age and its id. */
export type Flavour = "plain" | "safe" | "expires" | "expired" | "message_expiry" | "resent";

export interface CommandStep {
  kind: "command";
  atMs: number;
  id: string;
  /** A worker that keeps a journal, or a board, which is sent `ping`. */
  target: string;
  flavour: Flavour;
  /** How long the command works. */
  workMs: number;
  /** When it expires, or is sent again, after it was sent; negative: it had expired before that. */
  afterMs: number;
}

/** What is done to the haunt, or for its operator; `who` is a worker or a board. */
export type Deed =
  | "edit_code"
  | "edit_config"
  | "break_code"
  | "kill_runner"
  | "kill_own"
  | "wedge"
  | "kill_host"
  | "start_host"
  | "stop_broker"
  | "kill_broker"
  | "start_broker"
  | "kill_board"
  | "start_board"
  | "reset_board"
  | "freeze_board"
  | "thaw_board"
  | "wifi_off"
  | "wifi_on"
  | "everything"
  | "all_stop"
  | "all_clear"
  | "press"
  | "release"
  | "reset_fault"
  | "arm"
  | "scare";

export interface DeedStep {
  kind: "deed";
  atMs: number;
  deed: Deed;
  who: string;
}

export type Step = CommandStep | DeedStep;

/** What begins each episode; what ends it follows from `episode`. */
const EPISODES = [
  ...["edit_code", "edit_code", "edit_config", "edit_config", "break_code", "kill_runner", "kill_own", "wedge"],
  ...["kill_host", "stop_broker", "kill_broker", "kill_board", "reset_board", "freeze_board", "wifi_off"],
  ...["everything", "all_stop", "press", "scare", "scare"],
] as Deed[];

/** They end the processes whose memory is watched. */
const ENDS_PROCESSES: ReadonlySet<Deed> = new Set(["kill_runner", "wedge", "kill_host", "everything"]);

const COMMAND_EVERY_MS = 12;
const BEGIN_MS = 3_000;
/** What would last for longer than this after the run isn't begun. */
const TAIL_MS = 10_000;

/** All that is done in a run of so many ms, by the seed alone. */
export function scheduleOf(seed: number, runMs: number): Step[] {
  const deeds = deedsOf(new Dice(seed), runMs);
  const commands = commandsOf(new Dice(seed ^ 0x5eed), runMs);
  return [...deeds, ...commands].sort((a, b) => a.atMs - b.atMs);
}

function commandsOf(dice: Dice, runMs: number): CommandStep[] {
  const steps: CommandStep[] = [];
  for (let atMs = 500; atMs < runMs; atMs += dice.between(1, 2 * COMMAND_EVERY_MS - 1)) {
    const toBoard = dice.percent(3);
    const target = toBoard ? dice.pick(BOARDS).id : dice.pick(SOAK).id;
    const flavour = toBoard ? "plain" : flavourOf(dice.between(1, 100));
    const workMs = !toBoard && dice.percent(5) ? dice.between(50, 1500) : 0;
    steps.push({
      kind: "command",
      atMs,
      id: `c${steps.length}`,
      target,
      flavour,
      workMs,
      afterMs: afterOf(dice, flavour),
    });
  }
  return steps;
}

function flavourOf(draw: number): Flavour {
  if (draw <= 10) return "safe";
  if (draw <= 20) return "expires";
  if (draw <= 25) return "expired";
  if (draw <= 35) return "message_expiry";
  return draw <= 45 ? "resent" : "plain";
}

function afterOf(dice: Dice, flavour: Flavour): number {
  if (flavour === "expires") return dice.between(1000, 5000);
  if (flavour === "expired") return -dice.between(500, 60_000);
  if (flavour === "message_expiry") return 1000 * dice.between(1, 5);
  return flavour === "resent" ? dice.between(1, 4000) : 0;
}

function deedsOf(dice: Dice, runMs: number): DeedStep[] {
  const steps: DeedStep[] = [];
  let bag: Deed[] = [];
  for (let atMs = BEGIN_MS; atMs < runMs; atMs += dice.between(500, 5500)) {
    if (bag.length === 0) bag = dice.shuffled(EPISODES);
    // A stretch in which no process ends that could leak.
    const calm = runMs >= MEMORY_FROM_MS && atMs > runMs / 3 && atMs < (runMs * 5) / 6;
    const index = bag.findIndex((deed) => !calm || !ENDS_PROCESSES.has(deed));
    const [deed] = index === -1 ? [] : bag.splice(index, 1);
    if (deed === undefined) bag = [];
    else {
      const all = episode(dice, deed, atMs);
      if (all.every((step) => step.atMs < runMs + TAIL_MS)) steps.push(...all);
    }
  }
  return steps.filter((step) => step.atMs < runMs || ENDINGS.has(step.deed));
}

/** What has been begun is brought to its end, even after the run's. */
const ENDINGS: ReadonlySet<Deed> = new Set([
  ...(["start_host", "start_broker", "start_board", "thaw_board", "wifi_on", "all_clear", "release"] as const),
  "edit_code",
]);

function episode(dice: Dice, deed: Deed, atMs: number): DeedStep[] {
  const step = (what: Deed, laterMs = 0, who = ""): DeedStep => ({
    kind: "deed",
    atMs: atMs + laterMs,
    deed: what,
    who,
  });
  const board = dice.pick(BOARDS).id;
  const worker = dice.pick(SOAK).id;
  const soon = dice.between(100, 2500);
  /** The broker has to have noticed before that. */
  const long = HALF_OPEN_MS + dice.between(2_000, 8_000);
  switch (deed) {
    case "edit_code":
    case "edit_config":
      return [step(deed, 0, worker)];
    case "break_code":
      return [step(deed, 0, worker), step("edit_code", soon + 1000, worker)];
    case "kill_own":
      return [step(deed, 0, dice.pick(SOAK.filter(({ own }) => own)).id)];
    case "wedge": {
      const who = dice.pick(SOAK.filter(({ own }) => !own)).id;
      // Its author mends it, and it shares the process again.
      return [step(deed, 0, who), step("edit_code", 9000, who)];
    }
    case "kill_host":
      return [step(deed), step("start_host", soon)];
    case "stop_broker":
    case "kill_broker":
      return [step(deed), step("start_broker", soon)];
    case "kill_board":
      return [step(deed, 0, board), step("start_board", soon + 2500, board)];
    case "reset_board":
      return [step(deed, 0, board)];
    case "freeze_board":
      return [step(deed, 0, board), step("thaw_board", long, board)];
    case "wifi_off":
      return [step(deed, 0, board), step("wifi_on", long, board)];
    case "everything":
      return [
        step(deed),
        step("start_broker", soon),
        step("start_host", dice.between(100, 4000)),
        ...BOARDS.map(({ id }) => step("start_board", dice.between(100, 4000), id)),
      ];
    case "all_stop":
      return [step(deed), step("all_clear", soon + 1500)];
    case "press":
      return [step(deed), step("release", soon + 500), step("all_clear", soon + 1500)];
    case "scare":
      // A board that was reset while it moved waits until somebody has looked at it.
      return [step("reset_fault"), step("arm", 1000), step(deed, 2500)];
    default:
      return [step(deed)];
  }
}
