import { sep } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { describeError } from "../../contract/errors.ts";
import { shownOf } from "../../worker/config.ts";
import type { Plan, Planned } from "../plan/plan.ts";
import type { Records, WorkerRecord } from "../runners/records.ts";
import type { Supervisor } from "../runners/supervisor.ts";

/** What is to be looked at anew. */
export interface Look {
  /** Whether a file may have changed. */
  changed: (file: string) => boolean;
  /** What has failed gets another try, changed or not. */
  retry: boolean;
}

/** What came of it, by the workers' ids. */
export interface Changes {
  added: string[];
  removed: string[];
  changed: string[];
  /** What was not taken, and why; what ran before runs on. */
  refused: { id: string; fault: string }[];
}

export interface ReconcileOptions {
  supervisor: Supervisor;
  /** Tells people of something about a worker that still runs. */
  say: (id: string, key: "warn" | "error", text: string) => void;
  /** Called when a worker is gone for good. */
  onGone: (id: string) => void;
}

/** Brings what runs in step with what is planned; a fault in one worker is that one's alone. */
export async function reconcile(
  { workers: wanted, unread }: Pick<Plan, "workers" | "unread">,
  look: Look,
  options: ReconcileOptions,
): Promise<Changes> {
  const { supervisor, say, onGone } = options;
  const { records } = supervisor;
  const ids = new Set(wanted.map(({ id }) => id));
  const isUnknown = (file: string) => unread.some((folder) => file.startsWith(folder + sep));
  const gone = records.all.filter(({ planned }) => !ids.has(planned.id) && !isUnknown(planned.file));
  const added: string[] = [];
  const changed: string[] = [];
  const refused: Changes["refused"] = [];
  /** What goes wrong in our own code is that one worker's trouble too. */
  const alone = async (id: string, work: () => Promise<void>) => {
    try {
      await work();
    } catch (error) {
      const fault = describeError(error);
      const record = records.get(id);
      if (record && !record.slot && !record.over) record.end("failed", fault);
      else say(id, "error", fault);
      refused.push({ id, fault });
    }
  };
  const take = (planned: Planned) =>
    alone(planned.id, async () => {
      const record = records.get(planned.id);
      if (!record) {
        added.push(planned.id);
        await supervisor.add(planned);
        return;
      }
      const { acted, fault } = await update(record, planned, look, options);
      if (acted) changed.push(planned.id);
      if (fault !== undefined) refused.push({ id: planned.id, fault });
    });
  const remove = (record: WorkerRecord) =>
    alone(record.planned.id, async () => {
      await supervisor.remove(record);
      onGone(record.planned.id);
    });
  await Promise.all([...gone.map(remove), ...wanted.map(take)]);
  return { added: added.sort(), removed: gone.map(({ planned }) => planned.id), changed: changed.sort(), refused };
}

/** Whether a config that is new to its worker may be one that an editor is in the middle of writing. */
export function isBeingWritten({ workers }: Pick<Plan, "workers">, records: Records): boolean {
  return workers.some((next) => {
    if (!next.unfinished) return false;
    const record = records.get(next.id);
    if (!record) return true;
    const { planned: now, refused, complaint } = record;
    if (next.unreadable !== undefined) return next.unreadable !== (complaint ?? now.unreadable);
    return differs(now, next) && !(refused && !differs(refused, next));
  });
}

/** Whether anything was done, and what was not taken. */
interface Update {
  acted: boolean;
  fault?: string;
}

async function update(record: WorkerRecord, next: Planned, look: Look, options: ReconcileOptions): Promise<Update> {
  const now = record.planned;
  await options.supervisor.goBack(record);
  const runs = !record.over;
  const unreadable = next.unreadable !== now.unreadable ? next.unreadable : undefined;
  const fault = next.fault ?? unreadable;
  if (runs && fault !== undefined) return keep(record, fault, options);
  takeBack(record, "complaint", options);
  record.planned = next;
  if (record.held) return { acted: false };
  const replanned = now.fault !== next.fault || now.skipped !== next.skipped;
  const changed = differs(now, next);
  if (!changed) takeBack(record, "refused", options);
  const configured = changed && !(record.refused && !differs(record.refused, next));
  if (look.retry && record.setback) record.setback.hash = "";
  const dirty = now.file !== next.file || look.changed(next.file) || (record.bundle?.inputs ?? []).some(look.changed);
  if (replanned || !runs) {
    const again = replanned || (record.state === "failed" && (configured || dirty || !record.bundle || look.retry));
    if (again) await startAnew(record, options);
    return { acted: again };
  }
  if (!configured) record.planned = { ...next, config: now.config, about: now.about };
  return refresh(record, { now, dirty, configured }, options);
}

/** Whether a worker has to be told of a difference between two plans. */
function differs(one: Planned, other: Planned): boolean {
  const told = ({ config, about }: Planned) => [config.values, shownOf(config), about];
  return !isDeepStrictEqual(told(one), told(other));
}

/** What runs goes on running, with what it had. */
function keep(record: WorkerRecord, fault: string, { say }: ReconcileOptions): Update {
  if (fault !== record.complaint) say(record.planned.id, "error", `${fault}; the old one runs on`);
  record.complaint = fault;
  return { acted: false, fault };
}

/** What was said to be wrong with the files of a worker that ran on is mended: an empty text says so. */
function takeBack(record: WorkerRecord, what: "complaint" | "broken" | "refused", { say }: ReconcileOptions): void {
  if (record[what]) say(record.planned.id, "error", "");
  delete record[what];
}

async function startAnew(record: WorkerRecord, { supervisor }: ReconcileOptions): Promise<void> {
  if (!record.over) await supervisor.halt(record);
  await supervisor.bringUp(record);
}

/** Gives a running worker what is new: its code, else its config. */
async function refresh(
  record: WorkerRecord,
  { now, dirty, configured }: { now: Planned; dirty: boolean; configured: boolean },
  options: ReconcileOptions,
): Promise<Update> {
  const { supervisor, say } = options;
  const next = record.planned;
  const { id, warnings, isolation, maxMemoryMb } = next;
  const before = record.bundle;
  const broken = dirty ? await supervisor.rebuild(record) : undefined;
  if (broken !== undefined) {
    say(id, "error", `${broken}; the old one runs on`);
    record.broken = true;
  } else if (dirty) takeBack(record, "broken", options);
  if (record.bundle !== before || now.isolation !== isolation || now.maxMemoryMb !== maxMemoryMb) {
    await supervisor.launch(record, { patient: true });
    return { acted: true };
  }
  const refused = broken === undefined ? {} : { fault: broken };
  if (!configured) return { acted: false, ...refused };
  for (const warning of warnings.filter((text) => !now.warnings.includes(text))) say(id, "warn", warning);
  // What is wrong with it, the worker says itself.
  const { fault } = await supervisor.configure(record);
  if (fault === undefined) {
    takeBack(record, "refused", options);
    return { acted: true, ...refused };
  }
  record.refused = next;
  record.planned = { ...next, config: now.config, about: now.about };
  return { acted: false, fault };
}
