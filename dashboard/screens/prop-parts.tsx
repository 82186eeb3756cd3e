import type { Values } from "../../worker-host/contract/bus.ts";
import { availabilityOf, type Portrait, troubleOf, whyNotHeld } from "../../worker-host/contract/prop.ts";
import { boardIdOf } from "../../worker-host/contract/topics.ts";
import { Age } from "../controls/age.tsx";
import type { Parts } from "../parts.ts";
import { addressOf } from "../router.ts";

/** A prop, as its card and its screen show it. */
export interface OfProp extends Parts {
  id: string;
  values: Values;
  portrait: Portrait;
}

const TELEMETRY = "telemetry/";

export function thereOf(values: Values): "online" | "offline" | "unknown" {
  const availability = availabilityOf(values);
  return availability ? (availability.online ? "online" : "offline") : "unknown";
}

export function State({ values, store }: OfProp) {
  const state = values.get("state");
  return (
    <p class="state">
      <span class="word">{state?.text ?? "–"}</span> {state && <Age said={state} store={store} />}
    </p>
  );
}

/** What keeps it from working. */
export function Troubles({ id, values, portrait, store }: OfProp) {
  const availability = availabilityOf(values);
  const trouble = troubleOf(values);
  const lockOut = values.get("status/lock_out");
  const unheld = whyNotHeld(values, portrait);
  return (
    <>
      {availability?.online === false && (
        <p class="trouble">
          OFFLINE <Age said={availability.said} store={store} />
        </p>
      )}
      {!availability && store.boards.value.has(id) && <p class="trouble">NEVER SEEN: a board of this id is missing</p>}
      {trouble && <p class="trouble">{trouble.why}</p>}
      {lockOut && <p class="trouble">LOCKED OUT: {lockOut.text}</p>}
      {unheld !== undefined && <p class="trouble">ALL STOP can't hold it: {unheld}</p>}
    </>
  );
}

export function Telemetry({ values, portrait, store, most }: OfProp & { most: number }) {
  const keys = [...values.keys()].filter((key) => key.startsWith(TELEMETRY)).sort();
  if (keys.length === 0) return null;
  return (
    <dl>
      {keys.slice(0, most).map((key) => {
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
      {keys.length > most && (
        <div class="row">
          <dt>and {keys.length - most} more</dt>
          <dd />
        </div>
      )}
    </dl>
  );
}

/** Its last warning and its last error; under the buttons, which stay where they are when one comes. */
export function Complaints({ values, store }: OfProp) {
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
export function Board({ id, store }: OfProp) {
  const boardId = boardIdOf(id);
  const values = store.valuesOf(boardId);
  const availability = availabilityOf(values);
  const state = availability?.online ? values.get("state") : undefined;
  if (!availability && !store.boards.value.has(boardId)) return null;
  return (
    <p class={availability?.online ? "board" : "board trouble"}>
      <a href={addressOf(boardId)}>board</a>{" "}
      {!availability ? "NEVER SEEN" : availability.online ? state?.text : "OFFLINE"}{" "}
      {availability && <Age said={state ?? availability.said} store={store} />}
    </p>
  );
}
