import type { Command } from "commander";
import { HIDDEN, Secrets } from "../base/secrets.ts";
import { WorkerHostError } from "../contract/errors.ts";
import { decodeText } from "../contract/payload.ts";
import { printable, printableJson } from "../contract/printable.ts";
import { Topics } from "../contract/topics.ts";
import type { Message } from "../mqtt/wire.ts";
import { busLine, filterMeant, withoutConfig } from "./bus-message.ts";
import { brokerOf, connect } from "./client.ts";
import type { Edges } from "./edges.ts";
import { asUsage, type Flags, forConnecting, withSettings } from "./options.ts";
import { payloadInJson, RecordingWriter } from "./recording.ts";

export function addWatch(program: Command, edges: Edges): void {
  withSettings(program.command("watch"), forConnecting)
    .description("print what is said on the broker, until stopped")
    .argument("[filter]", "an id (fogger), an id and a key (fogger/telemetry), or an MQTT filter (zigbee2mqtt/#)")
    .option("--json", "an object of JSON on each line")
    .option("--record <file>", "write it into a new file too, for worker-host replay")
    .addHelpText("after", "\nExample:\n  worker-host watch fogger/telemetry")
    .action((filter: string | undefined, flags: Flags) => watch(filter, flags, edges));
}

async function watch(word: string | undefined, flags: Flags, edges: Edges): Promise<void> {
  const { clock, env, forPeople, sayShown, note, exit, fail } = edges;
  const settings = edges.settingsFrom(flags);
  const { prefix } = settings;
  const filter = asUsage(() => filterMeant(new Topics(prefix, settings.name), word));
  const secrets = new Secrets();
  secrets.add(brokerOf(settings).password);
  const client = await connect(settings, {
    ...edges,
    onDown: (text) => note(`${text}; trying again until it works`),
    onUp: () => note("connected again"),
  });
  if ("problem" in client) throw new WorkerHostError("timeout", client.problem);
  const { connection } = client;
  const path = typeof flags.record === "string" ? flags.record : undefined;
  const recording = path === undefined ? undefined : new RecordingWriter(path, prefix, clock);
  const end = () => {
    recording?.close();
    if (recording) note(`${recording.count} messages are recorded in ${path}`);
    exit(0);
  };
  edges.onSignal(end);
  edges.onClosedOutput(end);
  const colors = forPeople && !env.NO_COLOR;
  const take = (raw: Message) => {
    const message = cleaned(raw, secrets);
    const now = clock.now();
    recording?.add(message);
    sayShown(
      flags.json === true
        ? inJson(message, now)
        : busLine(message, new Date(now), { prefix, columns: edges.columns(), colors }),
    );
  };
  await connection.subscribe(filter, (message) => {
    try {
      take(message);
    } catch (error) {
      fail(error);
    }
  });
  note(`watching ${printable(filter)}; Ctrl-C ends it`);
}

/** A message without what nobody is to see. */
function cleaned(message: Message, secrets: Secrets): Message {
  const payload = withoutConfig(message.topic, message.payload);
  const text = decodeText(payload) ?? Buffer.from(payload).toString("latin1");
  const clean = secrets.cleanText(text);
  const isText = decodeText(payload) !== undefined;
  const shown = clean === text ? payload : Buffer.from(isText ? clean : HIDDEN);
  return { ...message, topic: secrets.cleanText(message.topic), payload: shown };
}

function inJson({ topic, payload, qos, retain }: Message, now: number): string {
  const time = new Date(now).toISOString();
  return printableJson(JSON.stringify({ time, topic, ...payloadInJson(payload), qos, retain }));
}
