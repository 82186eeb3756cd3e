import type { Values } from "../../worker-host/contract/bus.ts";
import { availabilityOf, type Portrait, troubleOf, whyNot } from "../../worker-host/contract/prop.ts";
import { CONSOLE, propOfBoard } from "../../worker-host/contract/topics.ts";
import { Age } from "../controls/age.tsx";
import { PressButton } from "../controls/press-button.tsx";
import type { Link } from "../link.ts";
import type { Store } from "../store.ts";

const TELEMETRY = "telemetry/";

interface Parts {
  store: Store;
  link: Link;
}

/** Every prop, by area: how it is, and what can be done with it. */
export function Props({ store, link }: Parts) {
  const ids = store.ids.value;
  const areas = new Map<string, string[]>();
  for (const id of ids) {
    const { isHost, area } = store.portraitOf(id);
    const prop = propOfBoard(id);
    if (isHost || id === CONSOLE || id === store.hostId || (prop !== undefined && ids.includes(prop))) continue;
    areas.set(area, [...(areas.get(area) ?? []), id]);
  }
  if (areas.size === 0) return <p class="empty">No prop has been heard of yet.</p>;
  return (
    <>
      {[...areas].sort().map(([area, members]) => (
        <section key={area} class="area">
          <h2>{area || "Props"}</h2>
          <div class="cards">
            {members.map((id) => (
              <Prop key={id} id={id} store={store} link={link} />
            ))}
          </div>
        </section>
      ))}
      {store.leftOut.value > 0 && <p class="empty">Too much is said on the bus: some of it is not shown.</p>}
    </>
  );
}

function Prop({ id, store, link }: Parts & { id: string }) {
  const values = store.valuesOf(id);
  const portrait = store.portraitOf(id);
  const availability = availabilityOf(values);
  const trouble = troubleOf(values);
  const lockOut = values.get("status/lock_out");
  const shown = availability ? (availability.online ? "online" : "offline") : "unknown";
  return (
    <article class="card" data-id={id} data-there={shown} data-locked={lockOut !== undefined}>
      <h3>{portrait.name ?? id}</h3>
      <State values={values} store={store} />
      {availability?.online === false && (
        <p class="trouble">
          OFFLINE <Age said={availability.said} store={store} />
        </p>
      )}
      {trouble !== undefined && <p class="trouble">{trouble}</p>}
      {lockOut && <p class="trouble">LOCKED OUT: {lockOut.text}</p>}
      <Telemetry values={values} portrait={portrait} store={store} />
      <Board id={`${id}_hw`} store={store} />
      <Commands id={id} values={values} portrait={portrait} store={store} link={link} />
      <Complaints values={values} store={store} />
    </article>
  );
}

function State({ values, store }: { values: Values; store: Store }) {
  const state = values.get("state");
  return (
    <p class="state">
      <span class="word">{state?.text ?? "–"}</span> {state && <Age said={state} store={store} />}
    </p>
  );
}

const MOST_VALUES = 4;

function Telemetry({ values, portrait, store }: { values: Values; portrait: Portrait; store: Store }) {
  const keys = [...values.keys()].filter((key) => key.startsWith(TELEMETRY)).sort();
  if (keys.length === 0) return null;
  return (
    <dl>
      {keys.slice(0, MOST_VALUES).map((key) => {
        const name = key.slice(TELEMETRY.length);
        const said = values.get(key);
        return (
          <div key={key} class="row">
            <dt>{name}</dt>
            <dd>
              {said?.text} {portrait.telemetry.get(name)?.unit} {said && <Age said={said} store={store} />}
            </dd>
          </div>
        );
      })}
      {keys.length > MOST_VALUES && <div class="row">and {keys.length - MOST_VALUES} more</div>}
    </dl>
  );
}

/** Its last warning and its last error; under the buttons, which stay where they are when one comes. */
function Complaints({ values, store }: { values: Values; store: Store }) {
  return (
    <>
      {["status/warn", "status/error"].map((key) => {
        const said = values.get(key);
        return (
          said && (
            <p key={key} class="trouble">
              {said.text} <Age said={said} store={store} />
            </p>
          )
        );
      })}
    </>
  );
}

/** The board of a prop that has both. */
function Board({ id, store }: { id: string; store: Store }) {
  const values = store.valuesOf(id);
  const availability = availabilityOf(values);
  const state = values.get("state");
  if (!availability) return null;
  return (
    <p class={availability.online ? "board" : "board trouble"}>
      board {availability.online ? "" : "OFFLINE "}
      {state && availability.online ? `${state.text} ` : ""}
      <Age said={(availability.online && state) || availability.said} store={store} />
    </p>
  );
}

function Commands({ id, values, portrait, store, link }: Parts & { id: string; values: Values; portrait: Portrait }) {
  const situation = store.situation.value;
  const ready = portrait.commands.filter(({ needsArgs }) => !needsArgs);
  const others = portrait.commands.filter(({ needsArgs }) => needsArgs);
  return (
    <div class="commands">
      {ready.map((command) => (
        <PressButton
          key={command.action}
          label={command.label}
          holdMs={command.held && command.action !== "stop" ? 600 : 0}
          why={whyNot(command, values, situation)}
          fire={(pressedAt) => tell(link, id, command.action, pressedAt)}
        />
      ))}
      {others.length > 0 && (
        <p class="more">with values, from a shell: {others.map(({ label }) => label).join(", ")}</p>
      )}
    </div>
  );
}

/** Sends a command; what it rejects with are the prop's own words. */
async function tell(link: Link, id: string, action: string, pressedAt: number): Promise<void> {
  try {
    await link.call("tell", { id, action, pressed_at: link.onItsClock(pressedAt, "earliest") });
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error);
    throw new Error(words.replace(`${id} ${action}: `, "").replace(/^Error: /, ""));
  }
}
