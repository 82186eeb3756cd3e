/** A worker that the soak writes itself, so that it keeps a journal of what it runs. */
export interface SoakWorker {
  id: string;
  /** It runs in a process of its own. */
  own: boolean;
  /** It has `onConfig`: a new config doesn't restart it. */
  live: boolean;
}

const OWN = 4;
const SOAK_WORKERS = 43;

/** The props that come with worker-host and have a worker. */
export const SHIPPED: readonly string[] = [
  ...["coffin_jumper", "example_prop", "fogger", "grave_shaker", "show", "sound_player", "wled_strip"],
];

/** With those above there are fifty. */
export const SOAK: readonly SoakWorker[] = Array.from({ length: SOAK_WORKERS }, (_, index) => ({
  id: `prop_${String(index + 1).padStart(2, "0")}`,
  own: index < OWN,
  live: index % 2 === 1,
}));

/** A sketch that runs on Linux. */
export interface BoardRole {
  /** The name of the sketch. */
  sketch: string;
  id: string;
  /** The pin of what moves or heats; the button has none. */
  actuator?: number;
}

export const BOARDS: readonly BoardRole[] = [
  { sketch: "coffin_jumper", id: "coffin_jumper_hw", actuator: 26 },
  { sketch: "fogger", id: "fogger_hw", actuator: 26 },
  { sketch: "grave_shaker", id: "grave_shaker_hw", actuator: 25 },
  { sketch: "panic_button", id: "panic_button" },
];

/** The input of the motion sensor, of the heater's contact and of the panic button. */
export const INPUT_PIN = 27;
export const COFFIN = "coffin_jumper_hw";
export const BUTTON = "panic_button";
export const HOST = "worker_host";

export const WORKERS: readonly string[] = [...SHIPPED, ...SOAK.map(({ id }) => id)];
/** Who shares one process, unless it hung. */
export const SHARING: readonly string[] = [...SHIPPED, ...SOAK.filter(({ own }) => !own).map(({ id }) => id)];
export const EVERYBODY: readonly string[] = [HOST, ...WORKERS, ...BOARDS.map(({ id }) => id)];
