import { randomInt } from "node:crypto";
import { Command, InvalidArgumentError } from "commander";
import { failureText, summaryText } from "./report.ts";
import { Soak } from "./soak.ts";

const SEEDS = 2 ** 31;

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError("expected a number above 0, such as 10 or 0.5");
  return value;
}

function seedIn(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0 || value >= SEEDS)
    throw new InvalidArgumentError(`expected a whole number from 0 to ${SEEDS - 1}`);
  return value;
}

const program = new Command("soak")
  .description("runs a whole haunt, does to it what a season does, and checks it from outside")
  .option("--minutes <n>", "how long", positive, 10)
  .option("--seed <s>", "what decides the schedule; a random one if not given", seedIn)
  .parse();
const { minutes, seed = randomInt(SEEDS) } = program.opts<{ minutes: number; seed?: number }>();
const early = new AbortController();

/** What would set the host up otherwise than a user has it. */
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(MQTT_|WORKER_|LOG_LEVEL|NODE_OPTIONS)/.test(name)),
);

process.stdout.write(`soaking for ${minutes} minutes with the seed ${seed}\n`);
const soak = new Soak({
  seed,
  runMs: minutes * 60_000,
  // npm runs it there.
  root: process.cwd(),
  env,
  now: Date.now,
  signal: early.signal,
});
process.on("exit", () => soak.close());
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => early.abort());
await soak.run().finally(() => soak.close());

const failed = soak.model.violations.length > 0;
process.stdout.write(summaryText(soak, { seed, minutes }));
if (failed) process.stdout.write(failureText(soak, { seed, minutes }));
if (early.signal.aborted) process.stdout.write("ended early\n");
process.exit(failed || early.signal.aborted ? 1 : 0);
