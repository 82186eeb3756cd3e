import { textOf, WorkerHostError } from "./errors.ts";
import { MAX_KEY_BYTES, MAX_TOPIC_BYTES, MOST_KEY_LEVELS, MOST_TOPIC_LEVELS } from "./limits.ts";

const ID = /^[A-Za-z0-9_-]{1,200}$/;

interface Bounds {
  bytes: number;
  levels: number;
}

/**
 * MQTT 3.1.1, 1.5.3: the length of a topic is a 16-bit number of bytes. The embedded broker takes 100 levels, mosquitto
 * 200: either ends the connection of whoever names more.
 */
const WHOLE: Bounds = { bytes: MAX_TOPIC_BYTES, levels: MOST_TOPIC_LEVELS };

/** A prefix and a key within these make topics within `WHOLE`. */
const PART: Bounds = { bytes: MAX_KEY_BYTES, levels: MOST_KEY_LEVELS };

/** Where a broker says how long it has been running: `123 seconds`. mosquitto does; it is retained. */
export const BROKER_UPTIME = "$SYS/broker/uptime";

/** A longer id from the wire is nobody's. */
const MAX_PEER_LENGTH = 100;

const utf8 = new TextEncoder();

/** A host's name on the wire, where it is given no other. */
const HOST_NAME = "worker_host";

/** What follows the id in a topic that only the prop or the board itself publishes to. */
const OWN_KINDS: ReadonlySet<string> = new Set(["telemetry", "state", "description"]);
/** What a host says of a prop, among its status. */
const HOSTS_KEYS: ReadonlySet<string> = new Set(["runstate", "lock_out"]);

/** The id of the builtin worker that serves the page. */
export const CONSOLE = "console";

/** Ids that mean something else on the wire. A host's own name is reserved too. */
const RESERVED_IDS: ReadonlySet<string> = new Set([HOST_NAME, "broadcast", "cli"]);

/** Ids of builtin workers that come with worker-host, or are to come: a prop of that name would take their topics. */
const BUILTIN_IDS: ReadonlySet<string> = new Set([CONSOLE, "cues", "graph"]);

/** Why `id` can't be a prop's, in words; `undefined` where it can. */
export function faultOfPropId(id: string, hostName = HOST_NAME): string | undefined {
  if (BUILTIN_IDS.has(id))
    return `"${id}" is reserved for the builtin worker of that name: name it otherwise, such as "my_${id}"`;
  return faultOfId(id, hostName);
}

/** Why `id` can't be a prop's or a builtin's id under the host `hostName`, in words; `undefined` where it can. */
export function faultOfId(id: string, hostName = HOST_NAME): string | undefined {
  if (!ID.test(id)) {
    const shown = id.length > 400 ? `${id.slice(0, 57)}…` : id;
    return `"${shown}" can't be an id: write it with letters, digits, "_" and "-" only, 200 at most, such as "${suggestId(id)}"`;
  }
  const reserved = new Set([...RESERVED_IDS, hostName]);
  if (reserved.has(id)) {
    return `"${id}" is reserved (${[...reserved].join(", ")}): name it otherwise, such as "my_${id}"`;
  }
  return undefined;
}

/** Whether a prop, a board or a host can be there under an id that came over the wire. */
export function isPeer(id: string): boolean {
  return ID.test(id) && id.length <= MAX_PEER_LENGTH && id !== "broadcast" && id !== "cli";
}

/** The id that the board of a prop has beside its worker. */
export function boardIdOf(id: string): string {
  return `${id}_hw`;
}

/** The id of the prop whose board has this id; `undefined` where it is no such id. */
export function propOfBoard(boardId: string): string | undefined {
  const id = boardId.replace(/_hw$/, "");
  return id === boardId || id === "" ? undefined : id;
}

/** Why `name` can't be a host's, in words that quote `shown`; `undefined` where it can. */
export function faultOfName(name: string, shown = name): string | undefined {
  if (ID.test(name) && (name === HOST_NAME || !RESERVED_IDS.has(name))) return undefined;
  return `"${shown}" can't be a host's name: write one with letters, digits, "_" and "-" only, such as "attic", and not "broadcast" or "cli"`;
}

function suggestId(text: string): string {
  return (
    text
      // A pattern for the "_" at the end looks at each run of them anew from each of its letters.
      .slice(0, 400)
      .replaceAll(/[^A-Za-z0-9_-]+/g, "_")
      .replaceAll(/^_+|_+$/g, "")
      .slice(0, 200) || "my_prop"
  );
}

/** @throws WorkerHostError `invalid_id` where a command can't be addressed to `id`. */
export function assertTarget(id: string): void {
  if (typeof id === "string" && ID.test(id)) return;
  throw new WorkerHostError(
    "invalid_id",
    `"${textOf(id)}" is no prop's id: expected letters, digits, "_" and "-", such as "fogger"`,
  );
}

function faultOfTopic(topic: unknown, { bytes, levels } = WHOLE): string | undefined {
  if (typeof topic !== "string") return `expected a text, got ${typeof topic}`;
  if (topic === "") return "it is empty";
  if (topic.length * 3 > bytes && utf8.encode(topic).length > bytes) return `it is longer than ${bytes} bytes`;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: MQTT 3.1.1, 1.5.3 rules them out
  if (/[\u0000-\u001f\u007f-\u009f]/.test(topic)) return "it has a control character";
  // MQTT 3.1.1, 1.5.3: a broker may end the connection of whoever sends such a text; mosquitto does.
  if (/[\p{Surrogate}\p{Noncharacter_Code_Point}]/u.test(topic)) return "it has a code that stands for no character";
  if (topic.split("/").length > levels) return `it has more than ${levels} levels`;
  return undefined;
}

/** @throws WorkerHostError `invalid_topic` where nothing can be published to `topic` (MQTT 3.1.1, 4.7). */
export function assertTopicName(topic: string): void {
  const fault = faultOfTopic(topic) ?? (/[+#]/.test(topic) ? '"+" and "#" are for subscriptions only' : undefined);
  if (fault) throw new WorkerHostError("invalid_topic", `can't publish to "${textOf(topic)}": ${fault}`);
}

/** @throws WorkerHostError `invalid_topic` where `filter` is no topic filter (MQTT 3.1.1, 4.7.1). */
export function assertTopicFilter(filter: string): void {
  const levels = typeof filter === "string" ? filter.split("/") : [];
  const misplaced = levels.some(
    (level, index) =>
      (level.includes("+") && level !== "+") || (level.includes("#") && (level !== "#" || index !== levels.length - 1)),
  );
  // MQTT 5, 4.8.2
  const shared = levels[0] === "$share" && !/^\$share\/[^/+#]+\/./.test(filter);
  const fault =
    faultOfTopic(filter) ??
    (misplaced ? '"+" stands for a whole level, "#" for all the last ones' : undefined) ??
    (shared ? "write $share/<group>/<filter>" : undefined);
  if (fault) throw new WorkerHostError("invalid_topic", `can't subscribe to "${textOf(filter)}": ${fault}`);
}

/** What most keys are, and no rule is against: they are looked at for each message. */
const PLAIN_KEY = /^[\w-]{1,64}$/;

/** @throws WorkerHostError `invalid_topic` where `key` can't end a topic; it may have levels, as in `motor/left`. */
export function assertKey(key: string): void {
  if (typeof key === "string" && PLAIN_KEY.test(key)) return;
  const fault = faultOfTopic(key, PART) ?? (/[+#]/.test(key) ? '"+" and "#" can\'t be in it' : undefined);
  const empty = typeof key === "string" && key.split("/").includes("") ? "it has an empty level" : undefined;
  if (fault ?? empty) {
    throw new WorkerHostError(
      "invalid_topic",
      `"${textOf(key)}" is no key: ${fault ?? empty}; write one such as "temperature"`,
    );
  }
}

/** Why `prefix` can't start our topics; `undefined` where it can. */
export function faultOfPrefix(prefix: string): string | undefined {
  const fault = faultOfTopic(prefix, PART) ?? (/[+#$]/.test(prefix) ? '"+", "#" and "$" can\'t be in it' : undefined);
  if (fault) return fault;
  return prefix.split("/").includes("") ? 'it starts or ends with "/", or has "//"' : undefined;
}

/** Whether a message to `topic` reaches a subscription to `filter` (MQTT 3.1.1, 4.7.1 and 4.7.2). */
export function matchesFilter(filter: string, topic: string): boolean {
  if (filter === topic) return true;
  if (differEarly(filter, topic)) return false;
  const pattern = filter.startsWith("$share/") ? filter.split("/").slice(2) : filter.split("/");
  const levels = topic.split("/");
  if (topic.startsWith("$") && (pattern[0] === "+" || pattern[0] === "#")) return false;
  for (const [index, level] of pattern.entries()) {
    if (level === "#") return true;
    if (index >= levels.length || (level !== "+" && level !== levels[index])) return false;
  }
  return pattern.length === levels.length;
}

/** Whether no level needs to be looked at: there may be a thousand filters, and most differ from a topic early. */
function differEarly(filter: string, topic: string): boolean {
  if (filter.startsWith("$share/")) return false;
  for (let i = 0; i < filter.length; i++) {
    const letter = filter[i];
    if (letter === "+" || letter === "#") return false;
    // "a/#" takes "a" too.
    if (letter !== topic[i]) return filter.slice(i) !== "/#";
  }
  return true;
}

/** Every topic of the wire contract, under one prefix and for one host's name. */
export class Topics {
  constructor(
    readonly prefix: string,
    readonly hostName = HOST_NAME,
  ) {}

  /** The filter of all under the prefix. */
  get all(): string {
    return `${this.prefix}/#`;
  }

  /** A command to one prop. */
  command(id: string): string {
    return `${this.prefix}/${id}/cmd`;
  }

  /** A command to all props: `stop`. */
  get broadcast(): string {
    return `${this.prefix}/broadcast/cmd`;
  }

  telemetry(id: string, key: string): string {
    return `${this.prefix}/${id}/telemetry/${key}`;
  }

  status(id: string, key: string): string {
    return `${this.prefix}/${id}/status/${key}`;
  }

  availability(id: string): string {
    return this.status(id, "availability");
  }

  /** Where the Python worker host had the availability. */
  pythonAvailability(id: string): string {
    return `${this.prefix}/${id}/availability`;
  }

  /** The host's word for a worker's life. The host alone publishes it. */
  runstate(id: string): string {
    return this.status(id, "runstate");
  }

  /** The prop's own word for what it is doing. */
  state(id: string): string {
    return `${this.prefix}/${id}/state`;
  }

  description(id: string): string {
    return `${this.prefix}/${id}/description`;
  }

  /** A command to the host that changes files, code or which workers run. */
  get adminCommand(): string {
    return `${this.prefix}/${this.hostName}/admin/cmd`;
  }

  get uptime(): string {
    return `${this.prefix}/${this.hostName}/uptime`;
  }

  /** Whether all-stop is engaged: `engaged` or `clear`, retained. */
  get allStop(): string {
    return this.status(this.hostName, "all_stop");
  }

  /** Who confirmed the last all-stop, as JSON; retained. */
  get allStopHeard(): string {
    return this.status(this.hostName, "all_stop_heard");
  }

  /** Why a prop takes no command, where somebody locked it out; retained. */
  lockOut(id: string): string {
    return this.status(id, "lock_out");
  }

  /** The ids of all that are locked out, as JSON; retained, for Home Assistant. */
  get lockOuts(): string {
    return this.status(this.hostName, "lock_outs");
  }

  /** Where hosts find out which of them runs under this name. */
  get claim(): string {
    return `${this.prefix}/${this.hostName}/claim`;
  }

  /** The filter of all workers' runstates. */
  get runstates(): string {
    return this.runstate("+");
  }

  /** The filter of all availabilities. */
  get availabilities(): string {
    return this.availability("+");
  }

  /** The filter of all descriptions. */
  get descriptions(): string {
    return this.description("+");
  }

  /** Whether what is published to `topic` is said by the prop or the board itself: no command, nor a host's word for it. */
  isOwnWord(topic: string): boolean {
    if (!topic.startsWith(`${this.prefix}/`)) return false;
    const [, kind = "", key = ""] = topic.slice(this.prefix.length + 1).split("/");
    return kind === "status" ? !HOSTS_KEYS.has(key) : OWN_KINDS.has(kind);
  }

  /** The filter of all that a prop publishes and receives. */
  subtree(id: string): string {
    return `${this.prefix}/${id}/#`;
  }

  /** The filter of the same. A second subscriber to one and the same filter isn't sent what is retained. */
  wholeOf(id: string): string {
    return `${this.prefix}/${id}/+/#`;
  }

  /** The id in a topic under the prefix, `undefined` in any other. */
  idOf(topic: string): string | undefined {
    if (!topic.startsWith(`${this.prefix}/`)) return undefined;
    return topic.slice(this.prefix.length + 1).split("/")[0];
  }

  /** Where an id, or the command line as `cli`, gets the reply to its command `name`. */
  reply(id: string, name: string): string {
    return `${this.prefix}/${id}/reply/${name}`;
  }

  /** Whether a reply may be sent to `topic`: to a `cmd` topic it would be a command with the worker's rights. */
  isReply(topic: string): boolean {
    return !/[+#]/.test(topic) && faultOfTopic(topic) === undefined && matchesFilter(this.reply("+", "#"), topic);
  }

  /** Whether `topic` is one that takes commands, which are never retained. */
  isCommand(topic: string): boolean {
    const filters = [this.command("+"), new Topics(this.prefix, "+").adminCommand];
    return filters.some((filter) => matchesFilter(filter, topic));
  }
}

/** The topics of Home Assistant's MQTT discovery, under its own prefix. */
export class HomeAssistantTopics {
  constructor(readonly prefix: string) {}

  /** What a device is made of; retained. */
  config(objectId: string): string {
    return `${this.prefix}/device/${objectId}/config`;
  }

  /** The filter of all of them, other programs' too. */
  get configs(): string {
    return this.config("+");
  }

  /** The same as another filter: a second subscriber to one and the same isn't sent what is retained. */
  get everyConfig(): string {
    return `${this.prefix}/device/+/+`;
  }

  /** Where Home Assistant says `online` when it has come up. */
  get birth(): string {
    return `${this.prefix}/status`;
  }

  /** The object id in a topic of `configs`. */
  objectIdOf(topic: string): string | undefined {
    const objectId = topic.split("/").at(-2) ?? "";
    return topic === this.config(objectId) ? objectId : undefined;
  }
}
