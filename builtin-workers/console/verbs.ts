import { type Haunt, z } from "worker-host";
import { quote } from "worker-host/contract/command.ts";
import { isPeer } from "worker-host/contract/topics.ts";
import { now } from "./time.ts";

/** What a client may do, from little to much: each may also do what stands before it. */
export const ROLES = ["viewer", "operator", "author"] as const;
export type Role = (typeof ROLES)[number];

/** One verb of the RPC. */
export interface Verb {
  role: Role;
  /** It is taken however often and however long it is. */
  always?: true;
  kwargs: z.ZodType;
  run: (kwargs: unknown, caller: Caller) => unknown;
}

/** The client that sent a verb. */
export interface Caller {
  readonly role: Role;
  /** From now on it is told of what changes. */
  watch(): void;
}

export interface VerbsOptions {
  haunt: Haunt;
  call: (id: string, action: string, args: unknown) => Promise<unknown>;
  /** Fulfils when all-stop is engaged. */
  allStop: () => Promise<void>;
}

/** An older press is not meant any more: WiFi may deliver it seconds late. */
const OLDEST_PRESS_MS = 1_500;

const nothing = z.strictObject({});
const pressed = z.strictObject({ pressed_at: z.number() });
const tell = pressed.extend({ id: z.string(), action: z.string(), args: z.unknown().optional() });

/** The registry: all that a client may ask for, by name. */
export function createVerbs({ haunt, call, allStop }: VerbsOptions): ReadonlyMap<string, Verb> {
  return new Map([
    ["hello", verb("viewer", nothing, (_, { role }) => ({ haunt, role, now: now() }))],
    ["watch", verb("viewer", nothing, (_, caller) => caller.watch())],
    ["all_stop", { ...verb("operator", nothing, () => allStop()), always: true }],
    [
      "all_clear",
      verb("operator", pressed, ({ pressed_at }) => {
        refuseOld(pressed_at);
        return call(haunt.host, "all_clear", { by: "the page" });
      }),
    ],
    [
      "tell",
      verb("operator", tell, ({ id, action, args, pressed_at }) => {
        refuseOld(pressed_at);
        if (!isPeer(id)) throw new Error(`${quote(id)} is no prop's id`);
        if (id === haunt.host) throw new Error(`${id} takes no command from the page but all_stop and all_clear`);
        return call(id, action, args);
      }),
    ],
  ]);
}

function verb<Kwargs extends z.ZodType>(
  role: Role,
  kwargs: Kwargs,
  run: (kwargs: z.infer<Kwargs>, caller: Caller) => unknown,
): Verb {
  return { role, kwargs, run: run as Verb["run"] };
}

/** @throws Error for a press that is too old, or not yet made, by this process's clock */
function refuseOld(pressedAt: number): void {
  const age = now() - pressedAt;
  if (Math.abs(age) <= OLDEST_PRESS_MS) return;
  throw new Error(`${(age / 1000).toFixed(1)} s old; press again`);
}
