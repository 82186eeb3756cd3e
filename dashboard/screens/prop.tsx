import { useSignal } from "@preact/signals";
import { askedOf } from "../../worker-host/contract/bus.ts";
import { describeHeard, isAllHeard, readHeard } from "../../worker-host/contract/heard.ts";
import { type PropCommand, stopOf } from "../../worker-host/contract/prop.ts";
import { CONSOLE } from "../../worker-host/contract/topics.ts";
import { Age, spanOf } from "../controls/age.tsx";
import { CommandForm } from "../controls/command-form.tsx";
import { PressButton } from "../controls/press-button.tsx";
import type { Parts } from "../parts.ts";
import { Board, Complaints, type OfProp, State, Telemetry, Troubles, thereOf } from "./prop-parts.tsx";

const MOST_VALUES = 100;

/** One prop: how it is, a form for each of its commands, and what was asked of it. */
export function Prop({ id, ...parts }: Parts & { id: string }) {
  const { store } = parts;
  const values = store.valuesOf(id);
  const portrait = store.portraitOf(id);
  const of: OfProp = { id, values, portrait, ...parts };
  const stop = stopOf(id, values, portrait);
  const form = (command: PropCommand) => (
    <CommandForm key={`${command.action} ${values.get("description")?.text}`} command={command} {...of} />
  );
  return (
    <div class="prop card" data-id={id} data-there={thereOf(values)} data-locked={values.has("status/lock_out")}>
      <h1>{portrait.name ?? id}</h1>
      <p class="about">
        {[portrait.name ? id : "", portrait.area, portrait.description].filter((words) => words !== "").join(" · ")}
      </p>
      {values.size === 0 && <p class="empty">Nothing has been heard of it.</p>}
      {/* Above all that may change its height: it must not move under a finger. */}
      {stop && <div class="forms">{form(stop)}</div>}
      <State {...of} />
      <Troubles {...of} />
      <Board {...of} />
      <Complaints {...of} />
      <Telemetry {...of} most={MOST_VALUES} />
      {!portrait.isHost && (
        <>
          <h2>Commands</h2>
          {portrait.commands.length === 0 && <p class="empty">It tells of none{stop && " but stop"}.</p>}
          <div class="forms">{portrait.commands.map(form)}</div>
          <LastCommands {...of} />
          {id !== CONSOLE && <Upkeep {...of} />}
        </>
      )}
      {values.has("status/runstate") && <Log {...of} />}
    </div>
  );
}

/** What was asked of it lately, by this page or by anything else on the bus, and what came of it. */
function LastCommands({ values, store }: OfProp) {
  const asked = askedOf(values);
  if (asked.length === 0) return null;
  return (
    <>
      <h2>Asked of it</h2>
      <ul class="asked">
        {asked.map(({ action, args, at, waits, outcome }) => (
          <li key={`${at} ${action}`} class={outcome?.ok === false ? "trouble" : ""}>
            {action} {args} <Age said={{ text: "", at, retained: false }} store={store} />
            <span class="line">
              {!outcome && waits && "no answer seen"}
              {outcome &&
                `${outcome.ok ? `done in ${Math.round(outcome.ms)} ms` : outcome.refused ? "refused:" : "failed:"} ${outcome.text}`}
            </span>
          </li>
        ))}
      </ul>
    </>
  );
}

/** Lock-out, and the worker's restart. */
function Upkeep({ id, values, store, link }: OfProp) {
  const reason = useSignal("");
  const { blocked } = store.situation.value;
  const act = (verb: string) => (pressedAt: number) => link.act(verb, { id }, pressedAt);
  const lockOut = async (pressedAt: number) => {
    const why = reason.value.trim();
    const kwargs = why === "" ? { id } : { id, reason: why };
    const heard = readHeard(await link.act("lock_out", kwargs, pressedAt));
    return heard && !isAllHeard(heard) ? describeHeard(heard).join("; ") : "locked out";
  };
  return (
    <>
      <h2>Upkeep</h2>
      <div class="forms">
        {values.has("status/lock_out") && (
          <PressButton
            label="Release"
            about="It takes commands again. Nothing starts by itself."
            holdMs={2000}
            why={blocked}
            fire={act("release")}
          />
        )}
        <div class="command">
          <label class="field">
            <span class="label">why it is to be locked out</span>
            <input
              value={reason.value}
              maxLength={200}
              autocomplete="off"
              onInput={({ currentTarget }) => {
                reason.value = currentTarget.value;
              }}
            />
          </label>
          <PressButton
            label="Lock out"
            about="It stops, and takes no command until it is released."
            holdMs={600}
            why={blocked}
            fire={lockOut}
          />
        </div>
        {values.has("status/runstate") && (
          <PressButton
            label="Restart its worker"
            about="What it is doing ends at once."
            holdMs={2000}
            why={blocked ?? store.whyNotAs("author")}
            fire={act("restart_worker")}
          />
        )}
      </div>
    </>
  );
}

/** The end of what its worker has logged, when asked for. */
function Log({ id, link, store }: OfProp) {
  const read = useSignal<{ at: number; lines: string[] } | undefined>(undefined);
  const load = async () => {
    const lines = await link.call("log", { id, lines: 50 }).catch((error: Error) => [error.message]);
    read.value = { at: performance.now(), lines: lines as string[] };
  };
  const why = store.whyNotAs("operator");
  return (
    <>
      <h2>Log</h2>
      <button type="button" class="plain" disabled={why !== undefined} onClick={() => void load()}>
        {why !== undefined
          ? `Read its end: ${why}`
          : read.value
            ? `Read again; this is ${spanOf(Math.max(0, store.now.value - read.value.at))} old`
            : "Read its end"}
      </button>
      {read.value && <pre>{read.value.lines.join("\n") || "nothing was logged"}</pre>}
    </>
  );
}
