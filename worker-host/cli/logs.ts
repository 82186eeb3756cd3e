import { join } from "node:path";
import type { Command } from "commander";
import { closestMatch } from "leven";
import { delay } from "../base/clock.ts";
import { WorkerHostError } from "../contract/errors.ts";
import { printable, printableJson } from "../contract/printable.ts";
import { LOGS_FOLDER } from "../host/data/log-files.ts";
import { pathFrom } from "../host/paths.ts";
import type { Edges } from "./edges.ts";
import { LogTail, logsIn } from "./log-tail.ts";
import { type Flags, withSettings } from "./options.ts";

const LOOK_EVERY_MS = 250;
const USUAL_LINES = "100";

/** How each line begins, as pino writes it. */
const TIME = /^\{"level":\d+,"time":"([^"]*)"/;

export function addLogs(program: Command, edges: Edges): void {
  withSettings(program.command("logs"), ({ key }) => key === "data")
    .description("show what workers and the host logged, also when no host runs")
    .argument("[id]", "only this worker's, or the host's (worker_host); all if not given")
    .option("-f, --follow", "go on with what is logged from now on, until stopped")
    .option("-n, --lines <count>", `how many of the last lines; ${USUAL_LINES} if not given`)
    .option("--json", "as they are in the files")
    .addHelpText("after", "\nExample:\n  worker-host logs fogger -f")
    .action(async (id: string | undefined, flags: Flags) => {
      const folder = join(edges.settingsFrom(flags).data, LOGS_FOLDER);
      const count = countOf(flags.lines);
      const ids = await wanted(folder, id, edges);
      const show = await shownAs(flags.json === true, edges);
      const tails = new Map(ids.map((one) => [one, new LogTail(folder, one)]));
      const last = await inOrder([...tails.values()].map((tail) => () => tail.last(count)));
      for (const line of count === 0 ? [] : last.slice(-count)) edges.say(show(line));
      if (flags.follow !== true) return;
      edges.onSignal(() => edges.exit(0));
      edges.onClosedOutput(() => edges.exit(0));
      for (;;) {
        await delay(edges.clock, LOOK_EVERY_MS);
        for (const one of id === undefined ? await logsIn(folder) : [])
          if (!tails.has(one)) tails.set(one, new LogTail(folder, one));
        for (const line of await inOrder([...tails.values()].map((tail) => () => tail.more()))) edges.say(show(line));
      }
    });
}

function countOf(lines: string | boolean | undefined = USUAL_LINES): number {
  const count = Number(lines);
  if (typeof lines === "string" && /^\d+$/.test(lines) && Number.isSafeInteger(count)) return count;
  throw new WorkerHostError("invalid_settings", `--lines ${lines}: expected a whole number, such as 20`);
}

async function wanted(folder: string, id: string | undefined, { cwd }: Edges): Promise<string[]> {
  const ids = await logsIn(folder);
  const shown = pathFrom(cwd)(folder);
  if (ids.length === 0) throw new WorkerHostError("invalid_id", `no logs in ${shown}: a host that runs writes them`);
  if (id === undefined) return ids;
  if (ids.includes(id)) return [id];
  const near = closestMatch(id, ids, { maxDistance: 2 });
  const meant = near === undefined ? "." : `; did you mean "${near}"?`;
  throw new WorkerHostError(
    "invalid_id",
    `no log of "${printable(id)}" in ${shown}${meant} There are: ${ids.join(", ")}`,
  );
}

async function shownAs(json: boolean, { env, forPeople }: Edges): Promise<(line: string) => string> {
  if (json) return printableJson;
  const { prettyLog } = await import("../base/pretty-log.ts");
  const pretty = prettyLog({ colors: forPeople && !env.NO_COLOR });
  return (line) => pretty(line).trimEnd();
}

/** Reads one after the other, and merges by time; lines of one log stay in their order. */
async function inOrder(reads: (() => Promise<string[]>)[]): Promise<string[]> {
  const all: { time: string; line: string }[] = [];
  for (const read of reads) {
    let time = "";
    for (const line of await read()) {
      time = TIME.exec(line)?.[1] ?? time;
      all.push({ time, line });
    }
  }
  return all.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0)).map(({ line }) => line);
}
