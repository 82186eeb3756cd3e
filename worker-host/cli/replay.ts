import type { Command } from "commander";
import { delay } from "../base/clock.ts";
import { formatCommand, parseCommand } from "../contract/command.ts";
import { WorkerHostError } from "../contract/errors.ts";
import { numberIn } from "../contract/json-schema.ts";
import { COMMAND_EXPIRY_S } from "../contract/limits.ts";
import { Topics } from "../contract/topics.ts";
import type { Settings } from "../host/settings/settings.ts";
import type { PublishOptions, PublishResult } from "../mqtt/wire.ts";
import { connect } from "./client.ts";
import { type Edges, type Flags, forOneHost, withSettings } from "./options.ts";
import { type Recorded, readRecording } from "./recording.ts";
import { hostsSeenIn, maySendAgain, placeOf, replayFateOf, topicAt } from "./watch.ts";

export function addReplay(program: Command, edges: Edges): void {
  withSettings(program.command("replay"), forOneHost)
    .description("publish what was recorded, with its timing: telemetry, status and state, never retained")
    .argument("<file>", "what worker-host watch --record has written")
    .option("--speed <factor>", "so many times as fast; 1 if not given")
    .option("--commands", "send the commands to props too: they move")
    .addHelpText("after", "\nExample:\n  worker-host replay evening.jsonl --speed 10 --mqtt-prefix rehearsal")
    .action((file: string, flags: Flags) => replay(file, flags, edges));
}

/** At most so many messages are under way. */
const MOST_UNDER_WAY = 100;

/** What is left out, in words. */
const COMMANDS = "commands (--commands sends them)";
const NO_COMMANDS = "commands that can't be sent again";
const HOSTS = "of hosts, availability, descriptions, replies and the like";
const FOREIGN = "outside the recording's prefix";

interface ReplayPlan {
  prefix: string;
  hosts: ReadonlySet<string>;
  commands: boolean;
  newId: () => string;
}

async function replay(file: string, flags: Flags, edges: Edges): Promise<void> {
  const { clock, newId } = edges;
  const settings = edges.settingsFrom(flags);
  const speed = speedOf(flags.speed);
  // All of it is looked at before anything is published.
  const { prefix, hosts } = await lookAt(file, settings);
  const client = await connect(settings, edges);
  if ("problem" in client) throw new WorkerHostError("timeout", client.problem);
  const { connection } = client;
  const stopped = new Promise<true>((resolve) => edges.onSignal(() => resolve(true)));
  const leftOut = new Map<string, number>();
  const underWay: Promise<PublishResult>[] = [];
  let [sent, dropped, cut] = [0, 0, false];
  const settle = async () => {
    for (const result of await Promise.all(underWay.splice(0))) result === "dropped" ? dropped++ : sent++;
  };
  const began = clock.monotonic();
  for await (const message of readRecording(file, () => {})) {
    const again = playable(message, { prefix, hosts, commands: flags.commands === true, newId });
    if (typeof again === "string") {
      leftOut.set(again, (leftOut.get(again) ?? 0) + 1);
      continue;
    }
    const wait = began + message.ms / speed - clock.monotonic();
    if (wait > 0 && (await Promise.race([stopped, delay(clock, wait)]))) {
      cut = true;
      break;
    }
    const [place, payload, options] = again;
    underWay.push(connection.publish(topicAt(settings.prefix, place), payload, options));
    if (underWay.length >= MOST_UNDER_WAY) await settle();
  }
  await settle();
  await connection.stop();
  const seconds = ((clock.monotonic() - began) / 1000).toFixed(1);
  const lines = [
    `${cut ? "stopped: " : ""}${sent} messages were published in ${seconds} s, none of them retained`,
    ...(dropped > 0 ? [`${dropped} were not: the broker was away, or did not take them`] : []),
    ...[...leftOut].map(([why, count]) => `left out: ${count} ${why}`),
  ];
  edges.say(lines.join("\n"));
  edges.exit(cut || dropped > 0 ? 1 : 0);
}

function speedOf(speed: string | boolean | undefined = "1"): number {
  const factor = typeof speed === "string" ? (numberIn(speed) ?? 0) : 0;
  if (factor > 0) return factor;
  throw new WorkerHostError("invalid_settings", `--speed ${speed}: expected a number greater than 0, such as 2 or 0.5`);
}

async function lookAt(file: string, settings: Settings): Promise<{ prefix: string; hosts: ReadonlySet<string> }> {
  let prefix = "";
  const hosts = new Set([new Topics("").hostName, settings.name]);
  const messages = readRecording(file, (found) => {
    prefix = found;
  });
  for await (const { topic, payload } of messages) {
    const place = placeOf(prefix, topic);
    for (const host of place ? hostsSeenIn(place, payload) : []) hosts.add(host);
  }
  return { prefix, hosts };
}

/** Where to, and how, a message is published again; or why it isn't. */
function playable(
  { topic, payload, qos, retain }: Recorded,
  { prefix, hosts, commands, newId }: ReplayPlan,
): [NonNullable<ReturnType<typeof placeOf>>, string | Uint8Array, PublishOptions] | string {
  const place = placeOf(prefix, topic);
  if (!place) return FOREIGN;
  const fate = replayFateOf(place, hosts);
  if (fate === "never") return HOSTS;
  if (fate === "said") return [place, payload, { qos }];
  if (!commands) return COMMANDS;
  const { command } = parseCommand(payload);
  if (!command || retain || !maySendAgain(command.action)) return NO_COMMANDS;
  // One whose id has run already is refused; a reply would go to nobody.
  const again = command.text ? payload : formatCommand(command.action, command.args, newId());
  return [place, again, { qos: 1, expiryS: COMMAND_EXPIRY_S }];
}
