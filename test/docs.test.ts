import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import * as everywhere from "../worker-host/contract/limits.ts";
import * as host from "../worker-host/host/limits.ts";
import { SETTINGS } from "../worker-host/host/settings/settings.ts";
import * as worker from "../worker-host/worker/limits.ts";
import { ROOT } from "./harness/host.ts";

const SETTINGS_ROW = /^\|.*`(MQTT|WORKER|LOG)_[A-Z_]+`.*\|$/;

const read = (path: string) => readFileSync(join(ROOT, path), "utf8");

test("README.md's settings table has each setting's flag, variable, key, default and meaning, and no other", () => {
  const rows = read("README.md")
    .split("\n")
    .filter((line) => SETTINGS_ROW.test(line))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
  const expected = SETTINGS.map((setting) => [
    `\`${setting.flag}\``,
    `\`${setting.env}\``,
    `\`${setting.key}\``,
    "fallback" in setting ? `\`${setting.fallback}\`` : "",
    setting.description,
  ]);
  expect(rows).toEqual(expected);
});

const LIMITS = { contract: everywhere, host, worker };

const digits = (value: number) => value.toLocaleString("en");

/** A limit with the unit that its name says. */
function inWords(name: string, value: number): string {
  const [, unit = ""] = /_(MS|S|BYTES|MB|CHARS)$/.exec(name) ?? [];
  if (unit === "MS" && value % 1000 !== 0) return `${value} ms`;
  if (unit === "MS" || unit === "S") return `${unit === "S" ? value : value / 1000} s`;
  if (unit === "BYTES" && value % 1024 !== 0) return `${digits(value)} bytes`;
  if (unit === "BYTES") return value % 1024 ** 2 === 0 ? `${value / 1024 ** 2} MiB` : `${value / 1024} KiB`;
  return digits(value) + (unit === "MB" ? " MB" : unit === "CHARS" ? " characters" : "");
}

test("docs/limits.md has each limit, with its value and its meaning", () => {
  let made = read("docs/limits.md");
  for (const [floor, limits] of Object.entries(LIMITS)) {
    const file = `worker-host/${floor}/limits.ts`;
    const meanings = new Map(
      [...read(file).matchAll(/^export const (\w+) = .*; \/\/ (.+)$/gm)].map(([, name, text]) => [name, text]),
    );
    const names = [...meanings.keys()];
    expect(names.toSorted()).toEqual(Object.keys(limits).toSorted());
    const rows = names.map((name = "") => {
      const value: number = Reflect.get(limits, name);
      return `| \`${name}\` | ${inWords(name, value)} | ${meanings.get(name)} |\n`;
    });
    made = made.replace(
      new RegExp(`(<!-- made of ${file} .*-->\n)[^]*?(<!-- end -->)`),
      (_, begin, end) => `${begin}| limit | value | meaning |\n| --- | --- | --- |\n${rows.join("")}${end}`,
    );
  }
  if (process.env.UPDATE) writeFileSync(join(ROOT, "docs/limits.md"), made);
  else expect(read("docs/limits.md")).toBe(made);
});

/** What the other documents say of limits, with a limit's name in the place of its value. */
const SAID = {
  "docs/protocol.md": [
    "have at most {MOST_KEY_LEVELS} levels and {MAX_KEY_BYTES}, any topic at most {MOST_TOPIC_LEVELS} levels and {MAX_TOPIC_BYTES}",
    "whole seconds since its start, every {UPTIME_EVERY_MS}",
    "A command is at most {MAX_COMMAND_BYTES} (65,536 bytes) of UTF-8",
    "| `id` | text, {MAX_COMMAND_ID_CHARS} at most |",
    "What is longer than {MAX_DESCRIPTION_BYTES} is not read",
    "after waiting up to {DRAIN_MS} for their running commands",
    "A process that doesn't heed it within {HEED_MS} is ended",
    "The host collects the replies for {COLLECT_MS} at most",
    "Nothing waits for that but the answer, for {DISK_MS} at most",
    "Of each list {MOST_HEARD} are named",
    "Past {MOST_SAID} warnings in one go, and 2 a second",
    "JSON more than {MOST_JSON_LEVELS} levels deep",
    "{MOST_QUEUED} of them run or wait, and {MOST_QUEUED} may",
    "{MOST_RUNS} if the worker doesn't say",
    "more than {MOST_COMMANDS_WAITING} commands at once on a host's `cmd`",
    "an expiry of {COMMAND_EXPIRY_S}",
    "each worker's last {SEEN_IDS} are remembered",
    "one and a half times the keepalive of {KEEPALIVE_S}",
    "its `start()` runs, for at most {START_MS}",
    "for {STOP_TIMEOUT_MS} at most together unless the worker takes more (`static stopTimeoutMs`, {MAX_STOP_TIMEOUT_MS} at most)",
    "and waits {BROKER_UPTIME_MS} for it",
    "has been silent for {ASK_AFTER_MS} is sent one `ping`",
    "The host asks {MOST_DOUBTS} ids at most",
    "or else every {CLAIM_AGAIN_MS} to 7.5 s",
    "and waits {PING_MS} at most. A reply counts",
    "{MOST_PASSWORDS_WAITING} wait at most, and the rest are refused",
    "then with a count every {REFUSALS_EVERY_MS}",
    "| {DROP_FROM_BYTES} | messages at QoS 0 to this client",
    "| {MAX_AHEAD_BYTES} from one publisher at QoS 1 and 2 |",
    "| {MAX_UNSENT_BYTES}, or {DRAIN_TIMEOUT_MS} in which it doesn't catch up |",
    "(`ulimit -n`), at most {MOST_CLIENTS} |",
    "| {MOST_AT_THE_DOOR}, and the places that are free |",
    "| time until CONNECT has arrived | {CLIENT_CONNECT_MS} |",
    "| size of CONNECT, with its will | {MAX_CONNECT_BYTES} |",
    "| size of any other packet | {MAX_PACKET_BYTES} |",
    "| {MOST_FILTERS}, each of {MAX_FILTER_CHARS} |",
    "| {MOST_RETAINED}, or {MAX_RETAINED_BYTES} | the message is passed on, but not kept; a message of up to {SMALL_RETAINED_BYTES}",
  ],
  "docs/operating.md": [
    "and after {COLLECT_MS} at most who has heard it",
    "Where it dies again within {PROVEN_MS}, half of its workers get another process",
    "`… has not ended in {LOAD_MS}`",
    "it is tried again, at most every {PROCESS_RESTART_MAX_MS}",
    "| `start()` throws, or takes longer than {START_MS} |",
    "each one once until a connection has held for {LASTING_MS}",
    "attempts go on, up to {RECONNECT_MAX_MS} apart",
    "the host has said nothing for {HOST_SILENT_MS}",
    "longer than the worker's `stopTimeoutMs`, {STOP_TIMEOUT_MS} if not given",
    "The host writes what has come every {LOG_GATHER_MS}",
    "A line of more than {MAX_LOG_LINE_CHARS} is left out",
    "Lines wait, up to {MAX_OUTPUT_BYTES}",
    "or has no room for {DATA_ROOM_BYTES}",
    "no connection lasts longer than {HTTP_MS}",
  ],
  "docs/writing-a-worker.md": [
    "by its description, else {CALL_TIMEOUT_MS}",
    "`this.store` is a small map ({MAX_STORE_BYTES} at most)",
    "after waiting up to {DRAIN_MS} for the commands that run",
    "is taken when it hasn't changed for {HALF_WRITTEN_MS}. A change of the config file, which may have {MAX_CONFIG_BYTES}",
    "a worker of its own for each id here, {MOST_INSTANCES} at most",
    "at the worker's end: {STOP_TIMEOUT_MS} if not given, {MAX_STOP_TIMEOUT_MS} at most",
  ],
  "docs/porting-from-python.md": [
    "It has {START_MS}, or the worker is `failed`",
    "Both together have {STOP_TIMEOUT_MS}, or what `static stopTimeoutMs` says",
  ],
};

test.each(Object.entries(SAID))("%s says the limits as they are", (path, sentences) => {
  const all = new Map<string, number>(Object.values(LIMITS).flatMap((limits) => Object.entries(limits)));
  const valued = sentences.map((text) =>
    text.replaceAll(/\{(\w+)\}/g, (_, name) => inWords(name, all.get(name) ?? Number.NaN)),
  );
  const text = read(path).replaceAll(/\s+/g, " ");
  expect(valued.filter((sentence) => !text.includes(sentence))).toEqual([]);
});
