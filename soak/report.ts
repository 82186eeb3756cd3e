import { MEMORY_FROM_MS } from "./bounds.ts";
import type { Soak } from "./soak.ts";

export interface Asked {
  seed: number;
  minutes: number;
}

/** What went wrong, how to have it again, and what happened last. */
export function failureText({ model, recorder }: Soak, { seed, minutes }: Asked): string {
  const violations = model.violations.map(({ rule, text }) => `${rule}: ${text}`).join("\n");
  return [
    violations,
    "",
    "the last events, in seconds since the start:",
    ...recorder.last(violations),
    "",
    `seed ${seed}; the same schedule again: npm run soak -- --minutes ${minutes} --seed ${seed}`,
    "",
  ].join("\n");
}

/** What was done, and how it went. */
export function summaryText({ model, skipped }: Soak, { seed, minutes }: Asked): string {
  const { sent, ran, refused, unanswered } = model.commands.counts;
  const { closed, half_open, missing } = model.availability.worst;
  const faults = [...model.faults].sort(([a], [b]) => a.localeCompare(b)).map(([what, count]) => `${what} ${count}`);
  const left = [...skipped].map(([what, count]) => `${what} ${count}`);
  const thirds = model.memory.thirds.map((mb) => mb.toFixed(0)).join(", ");
  const judged =
    minutes * 60_000 < MEMORY_FROM_MS
      ? `not judged in less than ${MEMORY_FROM_MS / 60_000} minutes`
      : `${model.memory.judged} processes lived long enough to be judged`;
  return [
    `seed          ${seed}, ${minutes} minutes`,
    `commands      ${sent} sent, ${ran} run, ${refused} refused, ${unanswered} lost in a fault, each explained by it`,
    `done          ${faults.join(", ")}`,
    `not possible  ${left.join(", ") || "nothing"}`,
    `edits         ${model.memory.reloads}`,
    `availability  wrong for at most ${closed} ms after a close, ${half_open} ms half open; late by ${missing} ms`,
    `memory        ${thirds} MB in the thirds of the run; ${judged}`,
    "",
  ].join("\n");
}
