import { useLayoutEffect } from "preact/hooks";
import { stopOf, whyNot } from "../../worker-host/contract/prop.ts";
import { PressButton } from "../controls/press-button.tsx";
import type { Parts } from "../parts.ts";
import { addressOf } from "../router.ts";
import { Board, Complaints, type OfProp, State, Telemetry, Troubles, thereOf } from "./prop-parts.tsx";

/** Every prop, by area: how it is, and what matters most of what can be done with it. */
export function Props(parts: Parts) {
  const { store, router } = parts;
  useLayoutEffect(() => scrollTo(0, router.propsTop), []);
  const words = store.filter.value.toLowerCase().trim();
  const areas = new Map<string, string[]>();
  for (const { id, name, area } of store.props.value) {
    const isMeant = `${id} ${name} ${area}`.toLowerCase().includes(words);
    if (!isMeant || (store.onlyTrouble.value && store.faultsOf(id).length === 0)) continue;
    areas.set(area, [...(areas.get(area) ?? []), id]);
  }
  return (
    <>
      <h1 class="unseen">Props</h1>
      <div class="filter">
        <input
          value={store.filter.value}
          placeholder="Filter"
          aria-label="Filter by name or area"
          autocomplete="off"
          spellcheck={false}
          onInput={({ currentTarget }) => {
            store.filter.value = currentTarget.value;
          }}
        />
        <button
          type="button"
          aria-pressed={store.onlyTrouble.value}
          onClick={() => {
            store.onlyTrouble.value = !store.onlyTrouble.value;
          }}
        >
          Only trouble
        </button>
      </div>
      {areas.size === 0 && (
        <p class="empty">{store.props.value.length === 0 ? "No prop has been heard of yet." : "None of the props."}</p>
      )}
      {[...areas].sort().map(([area, members]) => (
        <section key={area} class="area">
          <h2>{area || "Props"}</h2>
          <div class="cards">
            {members.map((id) => (
              <Card key={id} id={id} {...parts} />
            ))}
          </div>
        </section>
      ))}
      {store.leftOut.value > 0 && <p class="empty">Too much is said on the bus: some of it is not shown.</p>}
    </>
  );
}

const MOST_COMMANDS = 4;

function Card({ id, ...parts }: Parts & { id: string }) {
  const { store, link, router } = parts;
  const values = store.valuesOf(id);
  const portrait = store.portraitOf(id);
  const of: OfProp = { id, values, portrait, ...parts };
  const commands = [stopOf(id, values, portrait) ?? [], ...portrait.commands].flat();
  const shown = commands.filter(({ args, argsOptional }) => !args || argsOptional).slice(0, MOST_COMMANDS);
  const more = commands.length - shown.length;
  return (
    <article class="card" data-id={id} data-there={thereOf(values)} data-locked={values.has("status/lock_out")}>
      <h3>
        <a
          href={addressOf(id)}
          onClick={() => {
            router.propsTop = scrollY;
          }}
        >
          <span>{portrait.name ?? id}</span>
          <span class="more">{more > 0 ? `${more} more` : "open"} ›</span>
        </a>
      </h3>
      <State {...of} />
      <Troubles {...of} />
      <Telemetry {...of} most={4} />
      <Board {...of} />
      <div class="commands">
        {shown.map((command) => (
          <PressButton
            key={command.action}
            label={command.label}
            holdMs={command.held ? 600 : 0}
            why={whyNot(command, values, store.situation.value)}
            fire={(pressedAt) => link.tell(id, command.action, pressedAt)}
          />
        ))}
      </div>
      <Complaints {...of} />
    </article>
  );
}
