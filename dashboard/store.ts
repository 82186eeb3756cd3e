import { batch, computed, type Signal, signal } from "@preact/signals";
import type { Change, Said, Values } from "../worker-host/contract/bus.ts";
import { type DeviceRole, mayDo } from "../worker-host/contract/devices.ts";
import { type Heard, readHeard } from "../worker-host/contract/heard.ts";
import { jsonIn } from "../worker-host/contract/payload.ts";
import { type Fault, faultsOf, type Portrait, readPortrait, type Situation } from "../worker-host/contract/prop.ts";
import { boardIdOf, CONSOLE, propOfBoard } from "../worker-host/contract/topics.ts";
import type { Link, Update } from "./link.ts";

const NOTHING: Values = new Map();

/** What the page shows: the console's snapshot, at each connect anew, and what is new since. */
export class Store {
  readonly ids = signal<readonly string[]>([]);
  /** Whether the console has a broker; `undefined` until it says so. */
  readonly broker = signal<boolean | undefined>(undefined);
  readonly leftOut = signal(0);
  /** This page's clock, once a second: ages are counted by it. */
  readonly now = signal(performance.now());
  /** The console has confirmed a press of all-stop, and what the bus says is older. */
  readonly #stopConfirmed = signal(false);
  /** Counts what the bus has said of all-stop. */
  allStopWord = 0;
  /** What a person wants to see of the props. */
  readonly filter = signal("");
  readonly onlyTrouble = signal(false);
  readonly #values = new Map<string, Signal<Values>>();
  readonly #portraits = new Map<string, { text: string | undefined; portrait: Portrait }>();

  constructor(private readonly link: Link) {}

  start(): void {
    setInterval(() => {
      this.now.value = performance.now();
    }, 1_000);
  }

  get hostId(): string {
    return this.link.hello.value?.haunt.host ?? "worker_host";
  }

  /** What was last said of an id. */
  valuesOf(id: string): Values {
    return this.#signalOf(id).value;
  }

  /** What its description says; read once for each text. */
  portraitOf(id: string): Portrait {
    const text = this.valuesOf(id).get("description")?.text;
    const known = this.#portraits.get(id);
    if (known && known.text === text) return known.portrait;
    const portrait = readPortrait(text, id);
    this.#portraits.set(id, { text, portrait });
    return portrait;
  }

  /** The boards that there should be. */
  readonly boards = computed(() => new Set(this.ids.value.flatMap((id) => this.portraitOf(id).boards)));

  /** All that is shown as a prop: no host, nor the board of a prop that is here itself. */
  readonly props = computed((): { id: string; name: string; area: string }[] => {
    const ids = new Set([...this.ids.value, ...this.boards.value]);
    return [...ids].sort().flatMap((id) => {
      const { isHost, name = id, area } = this.portraitOf(id);
      const isPart = isHost || id === CONSOLE || id === this.hostId || ids.has(propOfBoard(id) ?? "");
      return isPart ? [] : [{ id, name, area }];
    });
  });

  /** What is wrong with an id, and with the board that it has beside it, worst first. */
  faultsOf(id: string): Fault[] {
    const now = this.link.onItsClock(performance.now(), "latest") ?? 0;
    const of = (one: string) => faultsOf(this.valuesOf(one), now, this.boards.value.has(one));
    const board = of(boardIdOf(id)).map(({ why, ...fault }) => ({ ...fault, why: `its board: ${why}` }));
    return [...of(id), ...board].sort((a, b) => a.rank - b.rank);
  }

  /** Why nothing at all can be sent, in words. */
  readonly blocked = computed((): string | undefined => {
    const { lostSince, restarting } = this.link;
    if (lostSince.value !== undefined) return restarting.value ? "restarting" : "no link";
    if (this.broker.value === undefined) return "not heard of yet";
    return this.broker.value ? undefined : "broker away";
  });

  /** Whether all-stop is engaged; `undefined` where that is not known. */
  readonly allStop = computed((): boolean | undefined => {
    const said = this.valuesOf(this.hostId).get("status/all_stop")?.text;
    if (said === "engaged" || this.#stopConfirmed.value) return true;
    // While nothing new is heard, it may have been engaged since.
    return said === "clear" && this.blocked.value === undefined ? false : undefined;
  });

  /** Who has heard the all-stop that is engaged; `undefined` until it is known. */
  readonly heard = computed((): Heard | undefined => {
    const values = this.valuesOf(this.hostId);
    const said = values.get("status/all_stop_heard");
    const engaged = values.get("status/all_stop");
    // What was said before is of an earlier one.
    if (!said || (engaged && !said.retained && said.at < engaged.at)) return undefined;
    return readHeard(jsonIn(said.text));
  });

  readonly situation = computed(
    (): Situation => ({
      blocked: this.blocked.value ?? this.whyNotAs("operator"),
      allStop: this.allStop.value,
    }),
  );

  /** Why this device may not do what is for a role, as short as a button on a phone. Its server has the last word. */
  whyNotAs(needed: DeviceRole): string | undefined {
    const { hello } = this.link;
    return hello.value && !mayDo(hello.value.role, needed) ? `for ${needed}s` : undefined;
  }

  /** How long ago it was said, in ms; `undefined` where that is not known. */
  ageOf({ at }: Said): number | undefined {
    const now = this.link.onItsClock(Math.max(this.now.value, performance.now()), "latest");
    return now === undefined ? undefined : Math.max(0, now - at);
  }

  take({ whole, connected, leftOut, changes }: Update): void {
    batch(() => {
      const touched = new Map<string, Map<string, Said>>();
      if (whole) for (const id of this.ids.value) touched.set(id, new Map());
      for (const { id, key, ...said } of changes) {
        const values = touched.get(id) ?? new Map(this.#signalOf(id).peek());
        touched.set(id, values);
        if (said.text === "") values.delete(key);
        else values.set(key, said);
      }
      const isOfAllStop = ({ id, key }: Change) => id === this.hostId && key === "status/all_stop";
      // Without a broker, what the console has is older than its answer.
      if (connected && (whole || changes.some(isOfAllStop))) this.#heardOfAllStop();
      for (const [id, values] of touched) this.#signalOf(id).value = values;
      const known = new Set([...this.ids.value, ...touched.keys()]);
      const there = [...known].filter((id) => this.#signalOf(id).peek().size > 0).sort();
      if (there.join() !== this.ids.value.join()) this.ids.value = there;
      this.broker.value = connected;
      this.leftOut.value = leftOut;
    });
  }

  /** Takes the console's answer to a press that was made when the bus had said `word` things of all-stop. */
  stopIsConfirmed(word: number): void {
    if (word === this.allStopWord) this.#stopConfirmed.value = true;
  }

  /** What is said on the bus is newer than any answer. */
  #heardOfAllStop(): void {
    this.allStopWord++;
    this.#stopConfirmed.value = false;
  }

  #signalOf(id: string): Signal<Values> {
    const known = this.#values.get(id) ?? signal(NOTHING);
    this.#values.set(id, known);
    return known;
  }
}
